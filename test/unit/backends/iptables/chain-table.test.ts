// Tables that share what stayed: they must say the same as plain maps of the same chains, and cost what changed.
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ChainTable } from '../../../../src/backends/iptables/chain-table.ts';
import { diff } from '../../../../src/backends/iptables/diff.ts';
import { withoutServicePorts } from '../../../../src/backends/iptables/probe.ts';
import type {
  Chain,
  ChainName,
  IptablesState,
  TableName,
} from '../../../../src/backends/iptables/state.ts';
import { chain, originOf, rule, state } from '../../../support/iptables-states.ts';

const roots = ['KUBE-SERVICES', 'KUBE-NODEPORTS'] as const;

/** Few names, so that chains are changed and removed as often as made; `role` follows from the name. */
const chains: fc.Arbitrary<Chain> = fc
  .record({
    name: fc.oneof(
      fc.constantFrom(...roots),
      fc.nat(40).map((n) => `KUBE-SVC-${String.fromCharCode(65 + (n % 7))}${n}`),
    ),
    texts: fc.array(fc.constantFrom('-j A', '-j B', '-j C'), { maxLength: 3 }),
  })
  .map(({ name, texts }) => {
    const role = roots.some((root) => root === name) ? 'root' : 'generated';
    return chain(name, role, ...texts.map((text) => rule(text, text.slice(-1))));
  });

const steps = fc.array(fc.tuple(chains, fc.boolean()), { maxLength: 30 });
type Steps = readonly (readonly [Chain, boolean])[];

function changesOf(list: Steps): ReadonlyMap<ChainName, Chain | undefined> {
  return new Map(list.map(([each, isPut]) => [each.name, isPut ? each : undefined]));
}

function tableOf(...all: readonly Steps[]): ChainTable {
  return all.reduce((table, list) => table.with(changesOf(list)), ChainTable.empty);
}

function modelOf(...all: readonly Steps[]): ReadonlyMap<ChainName, Chain> {
  const model = new Map<ChainName, Chain>();
  for (const [name, each] of all.flatMap((list) => [...changesOf(list)])) {
    if (each) model.set(name, each);
    else model.delete(name);
  }
  return model;
}

function stateWith(tables: Readonly<Record<TableName, ChainTable>>): IptablesState {
  return { ...state({}), tables };
}

/** The same state in maps that share nothing: all of it is compared. */
function plain({ tables, ...rest }: IptablesState): IptablesState {
  return {
    ...rest,
    tables: {
      filter: new Map(tables.filter),
      nat: new Map(tables.nat),
      mangle: new Map(tables.mangle),
    },
  };
}

describe('a table of chains', () => {
  test('holds what a map would, counts its rules, and leaves the version before as it was', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 5 }), steps, (before, last) => {
        const old = tableOf(...before);
        const content = [...old];
        const table = old.with(changesOf(last));
        const model = modelOf(...before, last);
        expect(new Map(table)).toEqual(model);
        expect(table.size).toBe(model.size);
        expect(table.ruleCount).toBe([...model.values()].flatMap(({ rules }) => rules).length);
        for (const [name, each] of model) expect(table.get(name)).toBe(each);
        for (const [name] of changesOf(last)) expect(table.has(name)).toBe(model.has(name));
        expect([...old]).toEqual(content);
      }),
    );
  });

  test('has an order that depends on its chains alone, roots first', () => {
    fc.assert(
      fc.property(fc.array(steps, { maxLength: 5 }), (all) => {
        const table = tableOf(...all);
        const again = ChainTable.empty.with(new Map([...table].toReversed()));
        expect([...again.keys()]).toEqual([...table.keys()]);
        const roles = [...table.values()].map(({ role }) => role);
        expect(roles).toEqual(roles.toSorted().toReversed());
      }),
    );
  });

  test('is compared at the cost of what changed', () => {
    const many = Array.from({ length: 20_000 }, (_, n) =>
      chain(`KUBE-SVC-${n.toString(36)}`, 'generated'),
    );
    const old = ChainTable.empty.with(new Map(many.map((each) => [each.name, each])));
    const changed = chain('KUBE-SVC-5', 'generated', rule('-j A'));
    const table = old.with(new Map([[changed.name, changed]]));
    const looked = [...table.unlike(old)];
    expect(looked).toContain(changed);
    expect(looked.length).toBeLessThan(many.length / 20);
    expect([...old.unlike(old)]).toEqual([]);
  });
});

describe('the difference between two versions', () => {
  const versions = fc.record({
    before: fc.record({ filter: steps, nat: steps, mangle: steps }),
    after: fc.record({ filter: steps, nat: steps, mangle: steps }),
    excluded: fc.uniqueArray(fc.constantFrom('A', 'B', 'C'), { maxLength: 2 }),
  });

  test('is that between plain maps of all chains, whatever is left out', () => {
    fc.assert(
      fc.property(versions, ({ before, after, excluded }) => {
        const [filter, nat, mangle] = [before.filter, before.nat, before.mangle].map((each) =>
          tableOf(each),
        ) as [ChainTable, ChainTable, ChainTable];
        const old = stateWith({ filter, nat, mangle });
        const all = stateWith({
          filter: filter.with(changesOf(after.filter)),
          nat: nat.with(changesOf(after.nat)),
          mangle: mangle.with(changesOf(after.mangle)),
        });
        const keys = new Set(excluded.map((name) => originOf(name).servicePort));
        const [rest, plainRest] = [all, plain(all)].map((each) =>
          withoutServicePorts(each, keys),
        ) as [IptablesState, IptablesState];
        expect(plain(rest)).toEqual(plainRest);
        expect(diff(old, rest, 'generation a 2')).toEqual(
          diff(plain(old), plainRest, 'generation a 2'),
        );
        expect(diff(rest, all, 'generation a 3')).toEqual(
          diff(plainRest, plain(all), 'generation a 3'),
        );
      }),
      { numRuns: 300 },
    );
  });
});
