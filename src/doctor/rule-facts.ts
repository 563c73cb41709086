import type { Variant } from '../backends/iptables/variant.ts';
import { findGeneration, generationChain } from '../backends/iptables/generation.ts';
import type { Family } from '../ip/address.ts';

/** What a dump of rules tells doctor. */
export interface RuleFacts {
  readonly variant: Variant;
  readonly family: Family;
  /** The policy of built-in chains, by `filter FORWARD`. */
  readonly policies: ReadonlyMap<string, string>;
  /** User-defined chains, by `filter KUBE-FORWARD`. */
  readonly chains: ReadonlySet<string>;
  /** Rules of chains that no service proxy makes, by the same names. */
  readonly foreign: ReadonlyMap<string, readonly string[]>;
  /** Rules of chains with names of a service proxy. */
  readonly proxyRules: number;
  /** Who wrote KUBE-SERVICES of nat: us (by our generation), somebody else, or nobody. */
  readonly servicesBy: 'Switchyard' | 'another' | 'nobody';
}

/** No more rules of a chain are looked at: firewalls with long lists exist. */
const mostOfChain = 2000;

/** Reads what `iptables-save` prints. */
export function ruleFacts(variant: Variant, family: Family, save: string): RuleFacts {
  const policies = new Map<string, string>();
  const chains = new Set<string>();
  const foreign = new Map<string, string[]>();
  let proxyRules = 0;
  let servicesBy: RuleFacts['servicesBy'] = 'nobody';
  let table = '';
  for (const line of save.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    else if (line.startsWith(':')) {
      const [name = '', policy = ''] = line.slice(1).split(' ', 2);
      if (policy === '-') chains.add(`${table} ${name}`);
      else policies.set(`${table} ${name}`, policy);
    } else if (line.startsWith('-A KUBE-')) {
      proxyRules++;
      servicesBy = writer(servicesBy, table, line);
    } else if (line.startsWith('-A ')) keep(foreign, table, line.slice('-A '.length));
  }
  return { variant, family, policies, chains, foreign, proxyRules, servicesBy };
}

/** Our generation is in one rule of KUBE-SERVICES of nat: a chain with rules, and none such, is somebody else's. */
function writer(
  known: RuleFacts['servicesBy'],
  table: string,
  line: string,
): RuleFacts['servicesBy'] {
  if (table !== 'nat' || !line.startsWith(`-A ${generationChain} `)) return known;
  if (findGeneration(line) !== undefined) return 'Switchyard';
  return known === 'nobody' ? 'another' : known;
}

function keep(foreign: Map<string, string[]>, table: string, rule: string): void {
  const space = rule.indexOf(' ');
  const chain = `${table} ${space < 0 ? rule : rule.slice(0, space)}`;
  const rules = foreign.get(chain);
  if (rules === undefined) foreign.set(chain, [rule.slice(space + 1)]);
  else if (rules.length < mostOfChain) rules.push(rule.slice(space + 1));
}
