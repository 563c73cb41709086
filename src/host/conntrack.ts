import { SwitchyardError } from '../error.ts';
import { parseAddress } from '../ip/address.ts';
import type { Address, Family } from '../ip/address.ts';
import type { ToolRunner } from './run-tool.ts';
import { readSetting } from './sysctl.ts';

/** One direction of a tracked flow. */
export interface FlowTuple {
  readonly source: Address;
  readonly destination: Address;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** A tracked UDP flow: `original` as the client sent it, `reply` as answers are expected. */
export interface ConntrackEntry {
  readonly original: FlowTuple;
  readonly reply: FlowTuple;
}

/** How full the table is. */
export interface ConntrackUsage {
  readonly entries: number;
  readonly limit: number;
}

/** A table of millions of entries is read in a few seconds; a tool that hangs is run again, the sooner the better. */
const timeoutMs = 10_000;
const families: Readonly<Record<Family, string>> = { ipv4: 'ipv4', ipv6: 'ipv6' };

/** All UDP entries of a family. */
export async function listUdpEntries(
  tools: ToolRunner,
  family: Family,
  signal: AbortSignal,
): Promise<readonly ConntrackEntry[]> {
  const args = ['-L', '-p', 'udp', '-f', families[family], '-o', 'extended'];
  const { exitCode, stdout, stderr } = await tools.run('conntrack', args, { timeoutMs, signal });
  // A line without its end may have lost the end of a number.
  if (exitCode === 0) return parseEntries(stdout.slice(0, stdout.lastIndexOf('\n') + 1));
  throw new SwitchyardError('tool', `conntrack -L failed: ${stderr.trim()}`, { retryable: true });
}

/**
 * Reads lines of `key=value` words: the first src, dst, sport and dport are the original direction, the second ones
 * the reply. Every other word (states, marks, counters, zones) is skipped, as are lines that lack one.
 */
export function parseEntries(text: string): readonly ConntrackEntry[] {
  return text.split('\n').flatMap((line) => parseEntry(line) ?? []);
}

/** Where some flows were sent, and who they were translated to: what makes them stale together. */
export type FlowPath = {
  readonly destination: Address;
  readonly destinationPort: number;
  readonly replySource: Address;
  readonly replySourcePort: number;
};

/**
 * Deletes all UDP flows of one path, whoever their clients are, in one run of the tool: each run reads
 * the whole table, so a run a flow would take minutes on a busy resolver. Gives how many were deleted.
 */
export async function deleteUdpFlows(
  tools: ToolRunner,
  family: Family,
  path: FlowPath,
  signal: AbortSignal,
): Promise<number> {
  const filter = [
    ['--orig-dst', path.destination],
    ['--orig-port-dst', String(path.destinationPort)],
    ['--reply-src', path.replySource],
    ['--reply-port-src', String(path.replySourcePort)],
  ].flat();
  const args = ['-D', '-p', 'udp', '-f', families[family], ...filter];
  const { exitCode, stderr } = await tools.run('conntrack', args, { timeoutMs, signal });
  // The tool's summary on stderr is the only way to tell "no such entry" from a failure.
  const summary = /\b(?<count>\d+) flow entries have been deleted/.exec(stderr);
  if (summary) return Number(summary.groups?.['count']);
  if (exitCode === 0) return 0;
  throw new SwitchyardError(
    'tool',
    `conntrack -D of flows to ${path.destination} failed: ${stderr.trim()}`,
    {
      retryable: true,
    },
  );
}

/** Entries and limit of the whole table; undefined where connection tracking is not loaded. */
export async function conntrackUsage(procSys = '/proc/sys'): Promise<ConntrackUsage | undefined> {
  const [entries, limit] = await Promise.all([
    readSetting(`${procSys}/net/netfilter/nf_conntrack_count`),
    readSetting(`${procSys}/net/netfilter/nf_conntrack_max`),
  ]);
  if (entries === undefined || limit === undefined) return undefined;
  return { entries: Number(entries), limit: Number(limit) };
}

function parseEntry(line: string): ConntrackEntry | undefined {
  const values = new Map<string, string[]>();
  for (const [, key = '', value = ''] of line.matchAll(/(?:^|\s)(src|dst|sport|dport)=(\S+)/g)) {
    const list = values.get(key);
    if (list === undefined) values.set(key, [value]);
    else list.push(value);
  }
  const original = parseTuple(values, 0);
  const reply = parseTuple(values, 1);
  return original === undefined || reply === undefined ? undefined : { original, reply };
}

function parseTuple(
  values: ReadonlyMap<string, readonly string[]>,
  direction: 0 | 1,
): FlowTuple | undefined {
  const text = (key: string): string => values.get(key)?.[direction] ?? '';
  const source = parseAddress(text('src'));
  const destination = parseAddress(text('dst'));
  const sourcePort = parsePort(text('sport'));
  const destinationPort = parsePort(text('dport'));
  if (source === undefined || destination === undefined) return undefined;
  if (sourcePort === undefined || destinationPort === undefined) return undefined;
  return { source, destination, sourcePort, destinationPort };
}

function parsePort(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) ? Number(text) : undefined;
}
