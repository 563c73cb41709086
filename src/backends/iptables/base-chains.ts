import { jumpKey, parseJump } from './read.ts';
import type { ObservedTable } from './read.ts';
import { jumpArgs } from './render.ts';
import type { StrayJump } from './restore-file.ts';
import { chains } from './static-rules.ts';
import type { Jump, TableName } from './state.ts';

/** A rule of others that packets meet before one of our jumps. */
export interface RuleInFront {
  /** As printed: `FORWARD -s 10.0.0.0/8 -j ACCEPT`. */
  readonly rule: string;
  /** It leaves nothing for what comes after it of the packets that ours are for. */
  readonly takesAll: boolean;
}

/** What one built-in chain holds, beside what it should hold of ours. */
interface BaseChain {
  readonly from: string;
  /** From the top down, as {@link IptablesState.jumps} has them the other way round. */
  readonly wanted: readonly Jump[];
  /** The places of ours among `rules`. */
  readonly places: readonly number[];
  readonly rules: readonly string[];
}

/**
 * How a table gets its jumps: those that are missing, each put at the top; where that would leave them in another order, or one
 * of them is there twice, all of the chain's in the place of those that are there.
 */
export function jumpsToWrite(
  table: TableName,
  jumps: readonly Jump[],
  observed: ObservedTable | undefined,
): { readonly insert: readonly Jump[]; readonly replace: readonly StrayJump[] } {
  const insert: Jump[] = [];
  const replace: StrayJump[] = [];
  for (const { from, wanted, places, rules } of baseChains(table, jumps, observed)) {
    const there = places.map((place) => keyOf(from, rules[place]));
    const missing = wanted.filter((jump) => !there.includes(jumpKey(jump)));
    const isInPlace = isSameOrder([...missing.map(jumpKey), ...there], wanted);
    insert.push(...(isInPlace ? missing : wanted).toReversed());
    if (isInPlace) continue;
    replace.push(...places.map((i) => ({ rule: `${from} ${rules[i]}`, isReplaced: true })));
  }
  return { insert, replace };
}

/** Our jumps of one chain as they are there, from the top down, where the order is not the one that is wanted or one is there twice. */
export function misplacedJumps(
  table: TableName,
  jumps: readonly Jump[],
  observed: ObservedTable,
): { readonly from: string; readonly found: readonly string[] } | undefined {
  for (const { from, wanted, places, rules } of baseChains(table, jumps, observed)) {
    const there = places.map((place) => keyOf(from, rules[place]));
    const known = wanted.filter((jump) => there.includes(jumpKey(jump)));
    if (!isSameOrder(there, known)) return { from, found: places.map((i) => rules[i] ?? '') };
  }
  return undefined;
}

/**
 * Our jumps as they should stand in the built-in chains and as they do, chain by chain, with the rules of others that leave
 * nothing for them. KUBE-FIREWALL counts as where it is wanted.
 */
export function baseChainLines(
  table: TableName,
  jumps: readonly Jump[],
  observed: ObservedTable,
): { readonly wanted: readonly string[]; readonly found: readonly string[] } {
  const all = baseChains(table, jumps, observed);
  return {
    wanted: all.flatMap(({ wanted }) => wanted.map(jumpLine)),
    found: all.flatMap((chain) => foundLines(chain)),
  };
}

function foundLines({ from, wanted, places, rules }: BaseChain): readonly string[] {
  const last = places.at(-1) ?? -1;
  const lines = rules.slice(0, last + 1).flatMap((args, i): string | readonly string[] => {
    if (!places.includes(i)) return mayDecide(args) && takesAll(args) ? `-A ${from} ${args}` : [];
    const key = keyOf(from, args);
    return wanted.filter((jump) => jumpKey(jump) === key).map(jumpLine);
  });
  const at = wanted.findIndex(isShared);
  const shared = wanted.filter(isShared).map(jumpLine);
  if (shared.length !== 1 || lines.filter((line) => line === shared[0]).length !== 1) return lines;
  const own = lines.filter((line) => line !== shared[0]);
  return own.toSpliced(at, 0, ...shared);
}

function jumpLine(jump: Jump): string {
  return `-A ${jump.from} ${jumpArgs(jump)}`;
}

/** What of others may decide before our jumps do. A jump to a chain may, too: what is in it is its owner's matter. */
export function rulesInFront(
  table: TableName,
  jumps: readonly Jump[],
  observed: ObservedTable,
): readonly RuleInFront[] {
  return baseChains(table, jumps, observed).flatMap(({ from, places, rules }) => {
    const last = places.at(-1) ?? 0;
    return rules.slice(0, last).flatMap((args, i): readonly RuleInFront[] => {
      if (places.includes(i) || !mayDecide(args)) return [];
      return [{ rule: `${from} ${args}`, takesAll: takesAll(args) }];
    });
  });
}

function baseChains(
  table: TableName,
  jumps: readonly Jump[],
  observed: ObservedTable | undefined,
): readonly BaseChain[] {
  const own = jumps.filter((jump) => jump.table === table);
  return [...Map.groupBy(own, (jump) => jump.from)]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([from, list]) => {
      const wanted = list.toReversed();
      const keys = new Set(wanted.map(jumpKey));
      const rules = observed?.builtIn.get(from) ?? [];
      const places = rules.flatMap((args, i) => (keys.has(keyOf(from, args)) ? i : []));
      return { from, wanted, places, rules };
    });
}

function keyOf(from: string, args = ''): string {
  const jump = parseJump(`-A ${from} ${args}`);
  return jump === undefined ? '' : jumpKey(jump);
}

/** The kubelet puts in the jump to KUBE-FIREWALL too, where it likes. */
function isShared({ to }: Pick<Jump, 'to'>): boolean {
  return to === chains.firewall;
}

function isSameOrder(keys: readonly string[], wanted: readonly Jump[]): boolean {
  if (keys.length !== wanted.length) return false;
  const shared = new Set(wanted.filter(isShared).map(jumpKey));
  const own = keys.filter((key) => !shared.has(key));
  const ours = wanted.filter((jump) => !isShared(jump)).map(jumpKey);
  return own.length === ours.length && own.every((key, i) => key === ours[i]);
}

const target = / ?(?:-j|-g) (\S+)/;
/** Packets go on to the next rule after these. */
const passing =
  /^(?:AUDIT|CHECKSUM|CLASSIFY|CONNMARK|CONNSECMARK|CT|DSCP|ECN|HL|HMARK|IDLETIMER|LED|LOG|MARK|NFLOG|NOTRACK|RATEEST|SECMARK|SET|TCPMSS|TCPOPTSTRIP|TEE|TOS|TRACE|TTL|ULOG)$/;
/** What ends a packet's way through a chain, or through the table. */
const final = /^(?:ACCEPT|DNAT|DROP|MASQUERADE|NETMAP|NFQUEUE|QUEUE|REDIRECT|REJECT|RETURN|SNAT)$/;
const states = /(! )?--(?:ctstate|state) (\S+)/;

function mayDecide(rule: string): boolean {
  const args = uncommented(rule);
  const to = target.exec(args)?.[1];
  // Chains of a proxy or of the kubelet are compared as such, or known.
  if (to === undefined || passing.test(to) || to.startsWith('KUBE-')) return false;
  return meetsNew(args);
}

/** Ours are for the first packet of a connection; what follows it goes the same way by itself. */
function meetsNew(args: string): boolean {
  const [, not, list] = states.exec(args) ?? [];
  if (list === undefined) return true;
  return (not === undefined) === list.split(',').includes('NEW');
}

/** Of a rule that may decide: it asks for nothing that a connection to a Service may lack. */
function takesAll(rule: string): boolean {
  const args = uncommented(rule);
  const to = target.exec(args);
  if (to === null || !final.test(to[1] ?? '')) return false;
  const asks = args
    .slice(0, to.index)
    .replaceAll(/-m (?:conntrack|state)(?: !)? --(?:ctstate|state) \S+/g, '')
    .replaceAll(/-p (?:tcp|udp|all)(?: -m (?:tcp|udp)(?=\s|$))?/g, '');
  return asks.trim() === '';
}

function uncommented(args: string): string {
  return args.replaceAll(/-m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+) ?/g, '');
}
