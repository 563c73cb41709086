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
  it('goes on behind thousands of rules that are met', () => {
    const rules = Array.from({ length: 5000 }, () => '-A PREROUTING -j LOG');
    expect(run('nat', ...rules)).toMatchObject([{ kind: 'delivered', probability: 1 }]);
  });
  it.each([
    ['-j', '-j'],
    ['-j', '-g'],
    ['-g', '-g'],
  ])('names chains that lead in a circle (%s, %s)', (there, back) => {
    const rules = [`-A PREROUTING -j A`, `-A A ${there} B`, `-A B ${back} A`];
    expect(() => run('nat', ':A - [0:0]', ':B - [0:0]', ...rules)).toThrow(
      'chains of nat lead in a circle: A → B → A',
    );
  });
  it('gives up where rules part a packet without end', () => {
    const rule = '-A PREROUTING -m statistic --mode random --probability 0.5 -j LOG';
    expect(() => run('nat', ...Array.from({ length: 64 }, () => rule))).toThrow(
      'part this packet in more ways than can be followed',
    );
  });
  it('takes no option of what it does not understand for one that it knows', () => {
    const tables = parseTables(
      [
        '*nat',
        '-A PREROUTING -j MARK --set-xmark 0x4000/0x4000',
        '-A PREROUTING -m connmark --mark 0x0/0x4000 -j DROP',
        'COMMIT',
      ].join('\n'),
    );
    const ended = walk(tables, node, packet, { unknown: 'both', trace: false });
    expect(ended.map(({ kind, assumed }) => [kind, ...assumed])).toEqual(
      [true, false].map((holds) => [
        holds ? 'drop' : 'delivered',
        { asked: '-m connmark --mark 0x0/0x4000', holds },
      ]),
    );
  });
  it('takes no word for what every object knows', () => {
    const rules = [':constructor - [0:0]', '-A PREROUTING -j constructor'];
    expect(run('nat', ...rules, '-A constructor -j DROP')).toMatchObject([{ kind: 'drop' }]);
    expect(() => run('nat', '-A PREROUTING constructor x -j DROP')).toThrow('unknown match');
    expect(() => run('constructor')).toThrow('unknown table constructor');
  });
  it('keeps the mark that a restored one leaves alone', () => {
    const ended = run(
      'nat',
      '-A PREROUTING -j MARK --set-xmark 0x4000/0x4000',
      '-A PREROUTING -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80',
      '-A PREROUTING -m mark --mark 0x4000/0x4000 -j DROP',
    );
    expect(ended.map(({ kind }) => kind)).toEqual(['drop']);
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
