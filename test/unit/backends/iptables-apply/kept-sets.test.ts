// What comes to sets that are there, apart from what goes.
import { expect, it } from 'vitest';
import type { ObservedSet } from '../../../../src/backends/iptables/ipsets.ts';
import { keptSets } from '../../../../src/backends/iptables/kept-sets.ts';
import type { SetName } from '../../../../src/backends/iptables/state.ts';
import { ipset } from '../../../support/iptables-states.ts';

const name = 'KUBE-IPVS-BOUND-1' as SetName;
const wanted = ipset(name, 'hash:ip family inet hashsize 1024 maxelem 9', ['10.0.0.1', '10.0.0.2']);
const there = (header: string): ObservedSet => ({
  name,
  family: 'ipv4',
  type: 'hash:ip',
  header,
  entries: 2,
});
const fit = there('family inet hashsize 1024 maxelem 9 bucketsize 12');
const member = (each: string) => ({ set: name, member: each });

it.each([
  { kind: 'exact', found: ['10.0.0.2', '10.0.0.1'], add: [], exchange: [] },
  { kind: 'short', found: ['10.0.0.2'], add: [member('10.0.0.1')], exchange: [] },
  { kind: 'long', found: ['10.0.0.1', '10.0.0.2', '10.0.0.3'], add: [], exchange: [wanted] },
  {
    kind: 'unlike',
    found: ['10.0.0.2', '10.0.0.3'],
    add: [member('10.0.0.1')],
    exchange: [wanted],
  },
])('a set that is $kind', ({ found, add, exchange }) => {
  const sets = keptSets([wanted], [fit], new Map([[name, found]]));
  expect(sets).toEqual({ create: [], add, exchange });
});

it('without a look at its members a set may have any', () => {
  const add = [member('10.0.0.1'), member('10.0.0.2')];
  expect(keptSets([wanted], [fit], undefined)).toEqual({ create: [], add, exchange: [wanted] });
});

it('a set whose table the kernel has made larger is the same set', () => {
  const grown = there('family inet hashsize 65536 maxelem 9 bucketsize 12');
  const found = new Map([[name, ['10.0.0.1', '10.0.0.2']]]);
  expect(keptSets([wanted], [grown], found)).toEqual({ create: [], add: [], exchange: [] });
});

it('what is not there, is of other parameters, or is filled by the kernel is made', () => {
  const affinity = { ...wanted, members: undefined };
  const other = there('family inet hashsize 1024 maxelem 8');
  for (const [spec, observed] of [
    [wanted, []],
    [wanted, [other]],
    [affinity, [fit]],
  ] as const) {
    expect(keptSets([spec], observed, new Map())).toEqual({
      create: [spec],
      add: [],
      exchange: [],
    });
  }
});
