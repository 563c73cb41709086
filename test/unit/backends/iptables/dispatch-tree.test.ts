import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  dispatchKey,
  prefixMatch,
  prefixTest,
} from '../../../../src/backends/iptables/dispatch-keys.ts';
import type { DispatchKey } from '../../../../src/backends/iptables/dispatch-keys.ts';
import { DispatchTree, maxEntries } from '../../../../src/backends/iptables/dispatch-tree.ts';
import type { ChainName, Rule } from '../../../../src/backends/iptables/state.ts';
import { addressBytes, formatAddress } from '../../../../src/ip/address.ts';
import { cidrContains, cidrOf } from '../../../../src/ip/cidr.ts';
import { address } from '../../../support/service-ports.ts';

/** A tree whose chains are named by their prefix, and the chains it has told of. */
function newTree() {
  const tree = new DispatchTree({
    chainName: (prefix) => `C${prefix}` as ChainName,
    match: (prefix) => `[${prefix}]`,
  });
  const chains = new Map<string, readonly string[]>();
  const flush = () =>
    tree.flush((name, rules) => {
      if (rules) chains.set(name, texts(rules));
      else chains.delete(name);
    });
  return { tree, chains, flush };
}

const texts = (rules: readonly Rule[]) => rules.map(({ args }) => args);
const entry = (key: string): readonly Rule[] => [{ args: `entry ${key}`, origin: undefined }];
const keysFrom = (count: number, first = 0, prefix = '') =>
  Array.from(
    { length: count },
    (_, i) => `${prefix}${(first + i).toString(16).padStart(4, '0')}` as DispatchKey,
  );

function grown(keys: Iterable<DispatchKey>) {
  const built = newTree();
  for (const key of keys) built.tree.set(key, entry(key));
  built.flush();
  return built;
}

describe('a dispatch tree', () => {
  test('of 16 entries stands in the root, sorted by key', () => {
    const keys = keysFrom(16);
    const { tree, chains } = grown(keys.toReversed());
    expect(texts(tree.rootRules())).toEqual(keys.map((key) => `entry ${key}`));
    expect(chains.size).toBe(0);
  });

  test('of 17 entries is split after the longest common prefix, and entered by -j', () => {
    const { tree, chains } = grown(keysFrom(17));
    expect(texts(tree.rootRules())).toEqual(['[000] -j C000', '[001] -j C001']);
    expect(chains.get('C001')).toEqual(['entry 0010']);
    expect(chains.get('C000')).toHaveLength(16);
  });

  test('goes by -g below the first level, and skips levels with a single child', () => {
    const { tree, chains } = grown([...keysFrom(17, 0, 'aaaa'), ...keysFrom(1, 0, 'bbbb')]);
    expect(texts(tree.rootRules())).toEqual(['[aaaa00] -j Caaaa00', '[b] -j Cb']);
    expect(chains.get('Caaaa00')).toEqual(['[aaaa000] -g Caaaa000', '[aaaa001] -g Caaaa001']);
  });

  test('removed to nothing leaves nothing', () => {
    const keys = keysFrom(40);
    const { tree, chains, flush } = grown(keys);
    for (const key of keys) tree.set(key, undefined);
    flush();
    expect(tree.rootRules()).toEqual([]);
    expect(chains.size).toBe(0);
  });

  test('tells only of the chains on the path of what changed', () => {
    const { tree } = grown(keysFrom(1000));
    tree.set('0123' as DispatchKey, [{ args: 'other', origin: undefined }]);
    const told: string[] = [];
    tree.flush((name) => told.push(name));
    expect(told).toEqual(['C012']);
  });

  test('has a shape that depends on the set of keys alone, and never too full a chain', () => {
    const keys = fc.integer({ min: 0, max: 0xffff }).map((n) => keysFrom(1, n)[0] ?? ('' as never));
    const steps = fc.array(fc.tuple(keys, fc.boolean()), { maxLength: 200 });
    const clustered = fc.array(
      fc.tuple(
        fc.integer({ min: 0, max: 60 }).map((n) => keysFrom(1, n * 7)[0] ?? ('' as never)),
        fc.boolean(),
      ),
      { maxLength: 200 },
    );
    fc.assert(
      fc.property(
        fc.oneof(steps, clustered),
        fc.integer({ min: 1, max: 50 }),
        (all, flushEvery) => {
          const grownInSteps = newTree();
          const left = new Set<DispatchKey>();
          all.forEach(([key, keep], at) => {
            grownInSteps.tree.set(key, keep ? entry(key) : undefined);
            if (keep) left.add(key);
            else left.delete(key);
            if (at % flushEvery === 0) grownInSteps.flush();
          });
          grownInSteps.flush();
          const anew = grown([...left].toSorted());
          expect(texts(grownInSteps.tree.rootRules())).toEqual(texts(anew.tree.rootRules()));
          expect(grownInSteps.chains).toEqual(anew.chains);
          const held = [texts(anew.tree.rootRules()), ...anew.chains.values()];
          expect(held.every((rules) => rules.length <= maxEntries)).toBe(true);
          const entries = held.flat().filter((text) => text.startsWith('entry'));
          expect(entries.toSorted()).toEqual([...left].map((key) => `entry ${key}`).toSorted());
        },
      ),
    );
  });
});

describe('a prefix of a key', () => {
  const key = dispatchKey(address('10.96.1.2'), 'UDP', 0x1234);

  test.each([
    [3, '-d 10.96.0.0/12'],
    [6, '-d 10.96.1.0/24'],
    [8, '-d 10.96.1.2/32'],
    [9, '-d 10.96.1.2/32 -p udp'],
    [11, '-d 10.96.1.2/32 -p udp -m udp --dport 4608:4863'],
    [13, '-d 10.96.1.2/32 -p udp -m udp --dport 4660'],
  ])('of %i digits matches %s', (length, match) => {
    const layout = { family: 'ipv4', address: '-d' } as const;
    expect(prefixMatch(key.slice(0, length), layout)).toBe(match);
  });

  test('of a node port is a port range', () => {
    const layout = { family: 'ipv4', address: undefined } as const;
    const nodePort = dispatchKey(undefined, 'TCP', 30080);
    expect(prefixMatch(nodePort.slice(0, 2), layout)).toBe('-p tcp -m tcp --dport 28672:32767');
  });

  test('of an IPv6 address is one too', () => {
    const layout = { family: 'ipv6', address: '-s' } as const;
    const six = dispatchKey(address('fd00:10::1'), 'TCP', 80);
    expect(prefixMatch(six.slice(0, 5), layout)).toBe('-s fd00::/20');
    expect(prefixMatch(six.slice(0, 33), layout)).toBe('-s fd00:10::1/128 -p tcp');
  });

  test('tests an address for a prefix of any length as cidrContains does', () => {
    const octets = fc.uint8Array({ minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(octets, octets, fc.integer({ min: 0, max: 32 }), (a, b, length) => {
        const near = Uint8Array.from(a, (octet, i) => (i < 2 ? octet : (b[i] ?? 0)));
        const cidr = cidrOf(a, length);
        const at = formatAddress(near);
        const holds = prefixTest(cidr)(dispatchKey(at, 'TCP', 80));
        expect(holds).toBe(cidrContains(cidr, at));
        expect(addressBytes(at)).toEqual(near);
      }),
    );
  });
});
