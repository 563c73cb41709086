import { servicePrefixes } from './chain-names.ts';
import { findGeneration, generationChain } from './generation.ts';
import type { Generation } from './generation.ts';
import type { ChainName, TableName } from './state.ts';

/** What the kernel holds of one table, as far as it concerns us. */
export interface ObservedTable {
  /** User-defined chains whose names are ours or kube-proxy's, with their rules' arguments as printed. */
  readonly chains: ReadonlyMap<ChainName, readonly string[]>;
  /** Jumps from built-in chains as printed (`INPUT … -j KUBE-SERVICES`), each by its {@link jumpKey}. */
  readonly jumps: ReadonlyMap<string, string>;
  /** All rules of built-in chains as printed, from the top down, by chain: `-i lo -j ACCEPT`. */
  readonly builtIn: ReadonlyMap<string, readonly string[]>;
  readonly generation: Generation | undefined;
  /** A rule of the chain that should carry the generation, to tell who wrote it instead. */
  readonly sample: string | undefined;
}

/** What `read` found, by table. */
export type Observed = Readonly<Record<TableName, ObservedTable>>;

/** A chain nothing jumps to, in which rules are tried: the kernel checks them, no packet meets them. */
export const probeChain = 'KUBE-SWITCHYARD-PROBE' as ChainName;

/**
 * Whether a chain may be deleted when no service needs it: those that come and go with services, whoever
 * wrote them, kube-proxy or we. Every other chain is left alone.
 */
export function isGeneratedChain(name: string): boolean {
  return name === probeChain || servicePrefixes.some((prefix) => name.startsWith(prefix));
}

/** One text per jump, the same for what we write and for what iptables-save prints. */
export function jumpKey(jump: {
  readonly from: string;
  readonly to: string;
  readonly match: string;
}): string {
  return [jump.from, jump.to, ...tokens(jump.match)].join('\t');
}

/** Reads what `iptables-save -t TABLE` prints, or `iptables -S CHAIN` for some of its chains. */
export function parseSave(save: string): ObservedTable {
  const chains = new Map<ChainName, string[]>();
  const jumps = new Map<string, string>();
  const builtIn = new Map<string, string[]>();
  let generation: Generation | undefined;
  let sample: string | undefined;
  for (const line of save.split('\n')) {
    const chain = /^(?::|-N |-A )(KUBE-\S+)/.exec(line)?.[1] as ChainName | undefined;
    if (chain === undefined) {
      readBuiltIn(line, builtIn);
      const jump = parseJump(line);
      if (jump !== undefined) jumps.set(jumpKey(jump), line.slice('-A '.length));
      continue;
    }
    let rules = chains.get(chain);
    if (rules === undefined) chains.set(chain, (rules = []));
    if (!line.startsWith('-A')) continue;
    rules.push(line.slice(`-A ${chain} `.length));
    if (chain !== generationChain) continue;
    generation ??= findGeneration(line);
    sample = line;
  }
  return { chains, jumps, builtIn, generation, sample };
}

function readBuiltIn(line: string, builtIn: Map<string, string[]>): void {
  const [, from, args = ''] = builtInRule.exec(line) ?? [];
  if (from === undefined) return;
  const rules = builtIn.get(from);
  if (rules === undefined) builtIn.set(from, [args]);
  else rules.push(args);
}

const builtInRule = /^-A (INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING) (.*)$/;

/** A jump from a built-in chain into a chain of ours or upstream's. */
export function parseJump(line: string): { from: string; to: string; match: string } | undefined {
  const match = /^-A (INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING) (?:(.*) )?-j (KUBE-\S+)$/.exec(
    line,
  );
  if (match === null) return undefined;
  return { from: match[1] ?? '', to: match[3] ?? '', match: match[2] ?? '' };
}

/** Words of rule arguments; a quoted text is one word. */
function tokens(args: string): readonly string[] {
  return (args.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? []).map((word) =>
    word.replace(/^"(.*)"$/s, '$1'),
  );
}
