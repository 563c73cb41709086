import { describe, expect, it } from 'vitest';
import { parseTables } from '../../../src/walk/parse.ts';
import { walk } from '../../../src/walk/traverse.ts';
import { address } from '../../support/service-ports.ts';

const node = { localAddresses: [address('192.0.2.1')], sets: new Map() };
const packet = {
  protocol: 'tcp',
  source: address('198.51.100.1'),
  sourcePort: 40_000,
  destination: address('10.1.0.1'),
  destinationPort: 80,
  inInterface: 'eth0',
  outInterface: 'cni0',
  state: 'NEW',
} as const;
const run = (table: string, ...lines: string[]) =>
  walk(parseTables([`*${table}`, ...lines, 'COMMIT'].join('\n')), node, packet);

describe('a packet that walks through rules', () => {
  it('goes on behind the last jump where a chain that was gone to ends', () => {
    const ended = run(
      'filter',
      ':A - [0:0]',
      ':B - [0:0]',
      '-A FORWARD -j A',
      '-A FORWARD -j REJECT',
      '-A A -g B',
      '-A A -j DROP',
    );
    expect(ended.map(({ kind }) => kind)).toEqual(['reject']);
  });
  it('passes by what only counts, whatever that asks', () => {
    const ended = run(
      'nat',
      '-A PREROUTING -m conntrack --ctstate DNAT --ctorigdst 127.0.0.0/8 -m nfacct --nfacct-name x',
      '-A PREROUTING -p tcp -j DNAT --to-destination 10.2.0.1:81',
    );
    expect(ended).toMatchObject([{ port: 81, probability: 1, assumed: [] }]);
  });
  it('splits packets by probability', () => {
    const ended = run(
      'nat',
      '-A PREROUTING -p tcp -m statistic --mode random --probability 0.25 -j DNAT --to-destination 10.2.0.1:81',
    );
    expect(ended.map(({ translated, probability }) => [translated, probability])).toEqual([
      [true, 0.25],
      [false, 0.75],
    ]);
  });
  it('goes through chains of thousands of rules', () => {
    const count = 20_000;
    const rules = Array.from(
      { length: count },
      (_, i) =>
        `-A PREROUTING -p tcp -m statistic --mode random --probability ${1 / (count - i)} -j DNAT --to-destination 10.2.0.1:${i}`,
    );
    const shares = run('nat', ...rules).map(({ probability }) => Math.round(probability * 1e9));
    expect(shares).toEqual(Array.from({ length: count }, () => 1e9 / count));
  });
  it('obeys the policy of a built-in chain', () => {
    expect(run('filter', ':FORWARD DROP [0:0]').map(({ kind }) => kind)).toEqual(['drop']);
  });
  it('brings what the node sends to itself back through INPUT, over the loopback device', () => {
    const rules = parseTables('*filter\n-A INPUT -i lo -j DROP\nCOMMIT');
    const own = { ...packet, inInterface: undefined };
    const kinds = (destination: string) =>
      walk(rules, node, { ...own, destination: address(destination) }).map(({ kind }) => kind);
    expect(kinds('192.0.2.1')).toEqual(['drop']);
    expect(kinds('10.1.0.1')).toEqual(['delivered']);
  });
  it('takes a match that only counts for no condition', () => {
    const counted = '-A FORWARD -p tcp -m nfacct --nfacct-name  counter -j DROP';
    expect(run('filter', counted).map(({ kind }) => kind)).toEqual(['drop']);
  });
  it.each([
    '-A FORWARD --colour red -j DROP',
    '-A FORWARD -m colour -j DROP',
    '-A FORWARD -j COLOUR',
  ])('refuses %s', (line) => {
    expect(() => run('filter', line)).toThrow(/unknown|no chain/);
  });
});
