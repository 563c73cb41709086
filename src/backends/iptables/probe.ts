import type { Origin } from '../../graph/rule-graph.ts';
import type { ServicePortKey } from '../../services/service-port.ts';
import { deleteChains, restoreBatch } from './apply.ts';
import type { ApplyPort, Refusal } from './apply.ts';
import { withChains } from './chain-table.ts';
import { findRefused } from './bisect.ts';
import type { Refused } from './bisect.ts';
import { tableOrder } from './diff.ts';
import type { Batch } from './restore-file.ts';
import { probeChain } from './read.ts';
import type { Chain, ChainName, IptablesState, Rule, TableName } from './state.ts';

const maxAttempts = 512;

/** The rules of a state that belong to service ports, and those that belong to none. */
interface RulesByOwner {
  readonly owned: ReadonlyMap<ServicePortKey, readonly ProbeRule[]>;
  readonly origins: ReadonlyMap<ServicePortKey, Origin>;
}

interface ProbeRule {
  readonly table: TableName;
  readonly rule: Rule;
}

/**
 * Which of the candidates have rules that the tool or the kernel refuses. Tried in a chain of its own, so that the
 * services that work go on working while the bad ones are looked for.
 */
export async function findBadServicePorts(
  port: ApplyPort,
  state: IptablesState,
  candidates: ReadonlySet<ServicePortKey>,
  signal: AbortSignal,
): Promise<readonly Refused<Origin>[]> {
  const { owned, origins } = rulesByOwner(state, candidates);
  const attempt = async (group: readonly ServicePortKey[]) => {
    const rules = group.flatMap((key) => owned.get(key) ?? []);
    const refusal = await tryRules(port, rules, signal);
    return refusal && { words: refusalText(refusal), culprit: refusal.origin?.servicePort };
  };
  const refused = await findRefused([...owned.keys()].toSorted(), attempt, maxAttempts);
  return refused.flatMap(({ item, words }) => {
    const origin = origins.get(item);
    return origin === undefined ? [] : [{ item: origin, words }];
  });
}

/** A rule that nobody refuses who takes any: what it needs, every rule of a service does. */
const plainRule = { args: '-m comment --comment "probe" -j RETURN', origin: undefined };

/** Whether tool and kernel take rules at all just now. */
export async function takesAnyRule(port: ApplyPort, signal: AbortSignal): Promise<boolean> {
  return (await tryRules(port, [{ table: 'nat', rule: plainRule }], signal)) === undefined;
}

/** Tries rules in the probe chain and removes the chain again; gives the refusal, if any. */
export async function tryRules(
  port: ApplyPort,
  rules: readonly ProbeRule[],
  signal: AbortSignal,
): Promise<Refusal | undefined> {
  const tables = tableOrder.filter((table) => rules.some((rule) => rule.table === table));
  const refusal = await restoreBatch(port, probeBatch(tables, rules), signal);
  // A table is written as a whole or not at all: what was refused alone has left nothing behind.
  if (refusal === undefined || tables.length > 1) {
    const leftovers = tables.map((table) => ({ table, chain: probeChain }));
    await deleteChains(port, leftovers, signal);
  }
  return refusal;
}

/** The state without the rules of some service ports; untouched chains keep their identity. */
export function withoutServicePorts(
  state: IptablesState,
  excluded: { has(key: ServicePortKey): boolean; readonly size: number },
): IptablesState {
  if (excluded.size === 0) return state;
  const tables = {
    filter: state.tables.filter,
    nat: state.tables.nat,
    mangle: state.tables.mangle,
  };
  for (const table of tableOrder) {
    const changes = new Map<ChainName, Chain>();
    for (const chain of tables[table].values()) {
      const rest = withoutRules(chain, excluded);
      if (rest !== chain) changes.set(chain.name, rest);
    }
    tables[table] = withChains(tables[table], changes);
  }
  return { ...state, tables };
}

/** The text of all rules of the given service ports, to tell whether they changed. */
export function rulesText(
  state: IptablesState,
  keys: ReadonlySet<ServicePortKey>,
): ReadonlyMap<ServicePortKey, string> {
  const texts = new Map<ServicePortKey, string>();
  for (const table of tableOrder) {
    for (const chain of state.tables[table].values()) {
      for (const { args, origin } of chain.rules) {
        if (origin === undefined || !keys.has(origin.servicePort)) continue;
        texts.set(origin.servicePort, `${texts.get(origin.servicePort) ?? ''}${table} ${args}\n`);
      }
    }
  }
  return texts;
}

function withoutRules(chain: Chain, excluded: { has(key: ServicePortKey): boolean }): Chain {
  const keep = (rule: Rule): boolean =>
    rule.origin === undefined || !excluded.has(rule.origin.servicePort);
  return chain.rules.every(keep) ? chain : { ...chain, rules: chain.rules.filter(keep) };
}

function rulesByOwner(state: IptablesState, keys: ReadonlySet<ServicePortKey>): RulesByOwner {
  const owned = new Map<ServicePortKey, ProbeRule[]>();
  const origins = new Map<ServicePortKey, Origin>();
  for (const table of tableOrder) {
    for (const chain of state.tables[table].values()) {
      for (const rule of chain.rules) {
        if (rule.origin === undefined || !keys.has(rule.origin.servicePort)) continue;
        const key = rule.origin.servicePort;
        origins.set(key, rule.origin);
        const list = owned.get(key);
        if (list === undefined) owned.set(key, [{ table, rule }]);
        else list.push({ table, rule });
      }
    }
  }
  return { owned, origins };
}

function probeBatch(tables: readonly TableName[], rules: readonly ProbeRule[]): Batch {
  const lines: string[] = [];
  const origins: (Origin | undefined)[] = [];
  const add = (line: string, origin?: Origin): void => {
    lines.push(line);
    origins.push(origin);
  };
  for (const table of tables) {
    add(`*${table}`);
    add(`:${probeChain} - [0:0]`);
    for (const { rule } of rules.filter((candidate) => candidate.table === table)) {
      add(`-A ${probeChain} ${withoutJump(rule.args)}`, rule.origin);
    }
    add('COMMIT');
  }
  return { text: `${lines.join('\n')}\n`, origins };
}

/** Chains of ours may not exist in the kernel yet; that a rule goes to one is never what is refused. */
function withoutJump(args: string): string {
  return args.replace(/ ?-[jg] KUBE-\S+$/, ' -j RETURN');
}

function refusalText(refusal: Refusal): string {
  return refusal.rule === undefined ? refusal.words : `${refusal.words} (rule "${refusal.rule}")`;
}
