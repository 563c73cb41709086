import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hairpinBytecode } from '../../../../src/backends/iptables/hairpin.ts';
import {
  maxChoices,
  randomTree,
  statisticMatch,
} from '../../../../src/backends/iptables/random-tree.ts';
import type { ChainName, Rule } from '../../../../src/backends/iptables/state.ts';
import { addressBytes } from '../../../../src/ip/address.ts';
import { address } from '../../../support/service-ports.ts';

function treeOf(weights: readonly number[]) {
  const choices = weights.map((weight, i) => ({
    key: `10.0.${i >> 8}.${i & 255}:80`,
    weight,
    rule: (statistic: string): Rule => ({ args: `${statistic} take ${i}`, origin: undefined }),
  }));
  return randomTree(choices, (path) => `T${path}` as ChainName);
}

/** The share of each choice, by walking the rules. */
function shares({ rules, chains }: ReturnType<typeof treeOf>): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  const walk = (list: readonly Rule[], entered: number): void => {
    let left = entered;
    for (const { args } of list) {
      const probability = Number(/--probability (\S+)/.exec(args)?.[1] ?? 1);
      const taken = /take (\d+)/.exec(args)?.[1];
      const below = /-g (\S+)/.exec(args)?.[1];
      if (taken !== undefined) found.set(Number(taken), left * probability);
      else walk(chains.get(below as ChainName) ?? [], left * probability);
      left *= 1 - probability;
    }
  };
  walk(rules, 1);
  return found;
}

const listing = (rules: readonly Rule[] | undefined) => rules?.map(({ args }) => args).join('\n');

describe('a random tree', () => {
  test.each([
    [1, 2, '0.5000000000'],
    [1, 3, '0.3333333333'],
    [1, 6, '0.1666666667'],
    [1, 7, '0.1428571429'],
  ])('writes %i of %i as %s', (weight, total, text) => {
    expect(statisticMatch(weight, total)).toBe(`-m statistic --mode random --probability ${text}`);
  });

  test('of 64 choices is one chain', () => {
    const { rules, chains } = treeOf(Array<number>(64).fill(1));
    expect(rules).toHaveLength(64);
    expect(chains.size).toBe(0);
  });

  test('gives each choice its share by weight', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 300 }),
        (weights) => {
          const total = weights.reduce((sum, weight) => sum + weight, 0);
          const found = shares(treeOf(weights));
          expect(found.size).toBe(weights.length);
          weights.forEach((weight, i) => expect(found.get(i)).toBeCloseTo(weight / total, 8));
        },
      ),
      { numRuns: 30 },
    );
  });

  test('never has more than 64 rules in a chain', () => {
    const { rules, chains } = treeOf(Array<number>(500).fill(1));
    const all = [rules, ...chains.values()];
    expect(Math.max(...all.map((list) => list.length))).toBeLessThanOrEqual(maxChoices);
  });

  test('changes a handful of chains when one of 1,000 choices is gone', () => {
    const ones = Array<number>(1000).fill(1);
    const before = treeOf(ones).chains;
    const after = treeOf(ones.slice(0, -1)).chains;
    const names = new Set([...before.keys(), ...after.keys()]);
    const changed = [...names].filter(
      (name) => listing(before.get(name)) !== listing(after.get(name)),
    );
    expect(changed.length).toBeGreaterThan(0);
    expect(changed.length).toBeLessThanOrEqual(4);
  });
});

/** Runs a program of the four classic BPF instructions used here over an IP header. */
function runBpf(program: string, header: DataView): number {
  const code = program
    .split(',')
    .slice(1)
    .map((text) => text.split(' ').map(Number));
  let [accumulator, index] = [0, 0];
  for (let at = 0; at < code.length; at++) {
    const [op, ifTrue = 0, ifFalse = 0, k = 0] = code[at] ?? [];
    if (op === 32) accumulator = header.getUint32(k);
    else if (op === 7) index = accumulator;
    else if (op === 29) at += accumulator === index ? ifTrue : ifFalse;
    else if (op === 6) return k;
    else throw new TypeError(`unknown instruction ${op}`);
  }
  throw new TypeError('the program ran off its end');
}

const header = (source: string, destination: string): DataView => {
  const [from, to] = [address(source), address(destination)].map(addressBytes);
  const bytes = new Uint8Array(40);
  const isSix = source.includes(':');
  bytes.set(from ?? [], isSix ? 8 : 12);
  bytes.set(to ?? [], isSix ? 24 : 16);
  return new DataView(bytes.buffer);
};

describe('the hairpin program', () => {
  test.each([
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3', '10.1.2.4', false],
    ['fd00::1:2:3', 'fd00::1:2:3', true],
    ['fd00::1:2:3', 'fd00::1:2:4', false],
    ['fd01::1:2:3', 'fd00::1:2:3', false],
    ['fd00:0:1::3', 'fd00:0:2::3', false],
    ['fd00::1:0:0:3', 'fd00::2:0:0:3', false],
  ])('from %s to %s says %s', (source, destination, isHairpin) => {
    const family = source.includes(':') ? 'ipv6' : 'ipv4';
    expect(runBpf(hairpinBytecode(family), header(source, destination)) > 0).toBe(isHairpin);
  });

  test('says how many instructions it has', () => {
    for (const family of ['ipv4', 'ipv6'] as const) {
      const [count, ...instructions] = hairpinBytecode(family).split(',');
      expect(instructions).toHaveLength(Number(count));
    }
  });
});
