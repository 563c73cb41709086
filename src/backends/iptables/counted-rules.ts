import { SwitchyardError } from '../../error.ts';
import type { ApplyPort } from './apply.ts';
import type { ChainName, Rule } from './state.ts';

/** A rule that translates a destination, and how many packets it has done that for. */
export interface CountedRule {
  /** `-j DNAT --to-destination 10.244.1.5:8080` */
  readonly target: string;
  readonly packets: number;
}

/** The DNAT rules of a chain, in order. */
export type CountedRules = readonly CountedRule[];

/**
 * Over so many chains one reading of the whole table costs less than a run of the tool for each (10,000 services of 3 endpoints:
 * 36 ms a chain with legacy tools, which read the whole table for it, and 75 ms for all; 3 and 250 ms with nft).
 */
const mostRuns = { legacy: 2, nft: 20 } as const;

/** Whether a rule ends a connection's way through nat at an endpoint. */
export function isDnat({ args }: Rule): boolean {
  return / -j DNAT --to-destination \S+$/.test(args);
}

/**
 * Reads the counters of DNAT rules: of some chains, or of all. A chain that is not there, and one without such a rule, is left
 * out.
 */
export async function readCountedRules(
  port: ApplyPort,
  names: readonly ChainName[] | undefined,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ReadonlyMap<ChainName, CountedRules>> {
  const { iptables, save, variant } = port.iptables;
  if (names === undefined || names.length > mostRuns[variant]) {
    const args = ['-c', '-t', 'nat'];
    const { exitCode, stdout, stderr } = await port.tools.run(save, args, { timeoutMs, signal });
    if (exitCode === 0) return parseCounters(stdout, names);
    const words = stderr.trim() || `exit code ${exitCode}`;
    throw new SwitchyardError('tool', `${save} -c failed: ${words}`, { retryable: true });
  }
  const texts = names.map(async (name) => {
    const args = ['-w', '1', '-t', 'nat', '-v', '-S', name];
    const { exitCode, stdout } = await port.tools.run(iptables, args, { timeoutMs, signal });
    return exitCode === 0 ? stdout : '';
  });
  return parseCounters((await Promise.all(texts)).join(''), names);
}

/**
 * Reads `[5:300] -A KUBE-SVC-… -j DNAT …` of `iptables-save -c` and `-A KUBE-SVC-… -c 5 300 -j DNAT …` of `iptables -v -S`.
 * A line without its end counts for nothing.
 */
export function parseCounters(
  text: string,
  only?: readonly ChainName[],
): ReadonlyMap<ChainName, CountedRules> {
  const wanted = only && new Set(only);
  const chains = new Map<ChainName, CountedRule[]>();
  for (let start = 0; start < text.length;) {
    const end = text.indexOf('\n', start);
    if (end === -1) break;
    const rule = parseLine(text.slice(start, end));
    start = end + 1;
    if (rule === undefined || wanted?.has(rule.chain) === false) continue;
    const { chain, target, packets } = rule;
    const rules = chains.get(chain);
    if (rules === undefined) chains.set(chain, [{ target, packets }]);
    else rules.push({ target, packets });
  }
  return chains;
}

function parseLine(line: string): (CountedRule & { readonly chain: ChainName }) | undefined {
  const at = line.lastIndexOf('-j DNAT ');
  if (at === -1) return undefined;
  const saved = /^\[(\d+):\d+\] -A (KUBE-\S+) /.exec(line);
  const [, chain, packets] =
    saved === null
      ? (/^-A (KUBE-\S+) .*-c (\d+) \d+ $/.exec(line.slice(0, at)) ?? [])
      : [undefined, saved[2], saved[1]];
  if (chain === undefined || packets === undefined) return undefined;
  // A copy: a part of a large text would keep all of it.
  const target = Buffer.from(line.slice(at)).toString();
  return { chain: chain as ChainName, target, packets: Number(packets) };
}
