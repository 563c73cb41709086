import { describe, expect, it } from 'vitest';
import { PortChooser, rangePorts, usualPorts } from '../../../../src/backends/userspace/ports.ts';
import type { PortAsker, PortSupply } from '../../../../src/backends/userspace/ports.ts';
import { parsePortRange, portsWithout } from '../../../../src/ip/port-range.ts';
import type { ListenerKey } from '../../../../src/relay/relay.ts';

// Which ports listeners get.

const key = (name: string): ListenerKey => `default/${name}:/TCP cluster ipv4` as ListenerKey;
const asker = (name: string, protocol: PortAsker['protocol'] = 'TCP'): PortAsker => ({
  key: key(name),
  protocol,
});

/** Each number once, then zero. */
function dice(...numbers: readonly number[]): () => number {
  const left = [...numbers];
  return () => left.shift() ?? 0;
}

const supply: PortSupply = rangePorts({ first: 20_000, last: 20_003 });

function chosen(chooser: PortChooser, ...askers: readonly PortAsker[]): readonly unknown[] {
  return [...chooser.choose(askers).values()].map((port) =>
    'port' in port ? port.port : port.refused,
  );
}

describe('--proxy-port-range', () => {
  it.each([
    ['20000-20999', { first: 20_000, last: 20_999 }],
    ['20000+999', { first: 20_000, last: 20_999 }],
    ['20000+0', { first: 20_000, last: 20_000 }],
    ['20000', { first: 20_000, last: 20_000 }],
    ['1-65535', { first: 1, last: 65_535 }],
    ['', 'any'],
    ['0', 'any'],
    ['0-0', 'any'],
    ['20999-20000', undefined],
    ['0-5', undefined],
    ['65000+536', undefined],
    ['-5', undefined],
    ['5-', undefined],
    ['20000-20999 ', undefined],
    ['20000:20999', undefined],
    ['a-b', undefined],
  ])('%j', (text, range) => {
    expect(parsePortRange(text)).toEqual(range);
  });

  it('leaves out other ports, whole or in part', () => {
    const all = [{ first: 10, last: 20 }];
    expect(portsWithout(all, [{ first: 12, last: 14 }])).toEqual([
      { first: 10, last: 11 },
      { first: 15, last: 20 },
    ]);
    expect(
      portsWithout(all, [
        { first: 1, last: 12 },
        { first: 19, last: 30 },
      ]),
    ).toEqual([{ first: 13, last: 18 }]);
    expect(portsWithout(all, [{ first: 10, last: 20 }])).toEqual([]);
    expect(portsWithout(all, [{ first: 21, last: 30 }])).toEqual(all);
  });
});

describe('without a range, ports', () => {
  const nodePorts = { first: 30_000, last: 32_767 };

  it('are no node ports, and those that programs and the kernel use come last', () => {
    const { tiers } = usualPorts({ nodePorts, ephemeral: { first: 32_768, last: 60_999 } });
    expect(tiers).toEqual([
      [
        { first: 20_000, last: 29_999 },
        { first: 61_000, last: 65_535 },
      ],
      [{ first: 1024, last: 19_999 }],
      [{ first: 32_768, last: 60_999 }],
    ]);
  });

  it('may be all of those the kernel gives to clients', () => {
    const { tiers } = usualPorts({ nodePorts, ephemeral: { first: 1024, last: 65_535 } });
    expect(tiers).toEqual([
      [
        { first: 1024, last: 19_999 },
        { first: 20_000, last: 29_999 },
        { first: 32_768, last: 65_535 },
      ],
    ]);
  });
});

describe('a listener', () => {
  it('gets a port at random, and keeps it', () => {
    const chooser = new PortChooser({ supply, random: dice(0.5, 0.99) });
    expect(chosen(chooser, asker('a'), asker('b'))).toEqual([20_002, 20_003]);
    expect(chosen(chooser, asker('b'), asker('a'))).toEqual([20_003, 20_002]);
  });

  it('gets the next one that is free, over the end of the range and across ranges', () => {
    const ranges = [
      { first: 10, last: 11 },
      { first: 20, last: 21 },
    ];
    const tiers = [ranges, [{ first: 5, last: 5 }]];
    const chooser = new PortChooser({ supply: { tiers, name: 'two' }, random: () => 0.25 });
    const all = ['a', 'b', 'c', 'd', 'e'].map((name) => asker(name));
    expect(chosen(chooser, ...all)).toEqual([11, 20, 21, 10, 5]);
  });

  it('does not mind one of the other protocol', () => {
    const chooser = new PortChooser({ supply, random: () => 0 });
    expect(chosen(chooser, asker('a'), asker('b', 'UDP'))).toEqual([20_000, 20_000]);
  });

  it('has the port of an earlier run, before anybody else gets one', () => {
    const kept = new Map([[key('b'), 20_000]]);
    const chooser = new PortChooser({ supply, random: () => 0, kept });
    const ports = chooser.choose([asker('a'), asker('b')]);
    expect(ports.get(key('a'))).toEqual({ port: 20_001 });
    expect(ports.get(key('b'))).toEqual({ port: 20_000 });
  });

  it('does not have one that is not in the range any more, or that two claim', () => {
    const kept = new Map([
      [key('a'), 30_000],
      [key('b'), 20_000],
      [key('c'), 20_000],
    ]);
    const chooser = new PortChooser({ supply, random: () => 0, kept });
    expect(chosen(chooser, asker('b'), asker('a'), asker('c'))).toEqual([20_000, 20_001, 20_002]);
  });

  it('gets another one where its port is in use, until that is forgiven', () => {
    const chooser = new PortChooser({ supply, random: () => 0 });
    expect(chosen(chooser, asker('a'))).toEqual([20_000]);
    chooser.passOver(asker('a'));
    expect(chosen(chooser, asker('a'), asker('b'))).toEqual([20_001, 20_002]);
    chooser.forgive();
    expect(chosen(chooser, asker('c'))).toEqual([20_000]);
  });

  it('is told which ports are used up', () => {
    const chooser = new PortChooser({ supply, random: () => 0.7 });
    const all = ['a', 'b', 'c', 'd', 'e'].map((name) => asker(name));
    expect(chosen(chooser, ...all)[4]).toBe(
      'no TCP port is free: all 4 of --proxy-port-range=20000-20003 are in use',
    );
    chooser.release(asker('b'));
    expect(chosen(chooser, asker('e'))).toEqual([20_003]);
  });
});
