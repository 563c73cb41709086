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

const timeoutMs = 60_000;
const families: Readonly<Record<Family, string>> = { ipv4: 'ipv4', ipv6: 'ipv6' };

/** All UDP entries of a family. */
export async function listUdpEntries(
  tools: ToolRunner,
  family: Family,
  signal: AbortSignal,
): Promise<readonly ConntrackEntry[]> {
  const args = ['-L', '-p', 'udp', '-f', families[family], '-o', 'extended'];
  const { exitCode, stdout, stderr } = await tools.run('conntrack', args, { timeoutMs, signal });
  if (exitCode === 0) return parseEntries(stdout);
  throw new SwitchyardError('tool', `conntrack -L failed: ${stderr.trim()}`, { retryable: true });
}

/**
 * Reads lines of `key=value` words: the first src, dst, sport and dport are the original direction, the second ones
 * the reply. Every other word (states, marks, counters, zones) is skipped, as are lines that lack one.
 */
export function parseEntries(text: string): readonly ConntrackEntry[] {
  return text.split('\n').flatMap((line) => parseEntry(line) ?? []);
}

/**
 * Deletes exactly one flow: every field of both directions that the tool takes is given. Gives false where it was gone already.
 */
export async function deleteUdpEntry(
  tools: ToolRunner,
  family: Family,
  { original, reply }: ConntrackEntry,
  signal: AbortSignal,
): Promise<boolean> {
  const tuple = [
    ['--orig-src', original.source],
    ['--orig-dst', original.destination],
    ['--orig-port-src', String(original.sourcePort)],
    ['--orig-port-dst', String(original.destinationPort)],
    ['--reply-src', reply.source],
    ['--reply-dst', reply.destination],
    ['--reply-port-src', String(reply.sourcePort)],
    ['--reply-port-dst', String(reply.destinationPort)],
  ].flat();
  const args = ['-D', '-p', 'udp', '-f', families[family], ...tuple];
  const { exitCode, stderr } = await tools.run('conntrack', args, { timeoutMs, signal });
  if (exitCode === 0) return true;
  // The tool's summary on stderr is the only way to tell "no such entry" from a failure.
  if (/\b0 flow entries have been deleted/.test(stderr)) return false;
  throw new SwitchyardError('tool', `conntrack -D failed: ${stderr.trim()}`, { retryable: true });
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
    values.set(key, [...(values.get(key) ?? []), value]);
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
