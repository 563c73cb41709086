import type { Origin } from '../../graph/rule-graph.ts';
import { SwitchyardError } from '../../error.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import type { Family } from '../../ip/address.ts';
import type { Log } from '../../telemetry/log.ts';
import { complaintOf } from './complaint.ts';
import type { Complaint } from './complaint.ts';
import { achieved, diffServer, isShown, kernelServer } from './diff.ts';
import type { Change, KernelServer, TargetServer } from './diff.ts';
import { readServers } from './kernel-table.ts';
import type { ObservedServer, ObservedServers, ServerKeys, TableReader } from './kernel-table.ts';
import { listServers } from './list-servers.ts';
import type { VirtualServer, VirtualServerKey } from './state.ts';

export interface ServerTableParts {
  readonly family: Family;
  readonly tools: ToolRunner;
  readonly log: Log;
  readonly readTable: TableReader;
}

/** A line that was refused, and what for. */
export interface RefusedLine {
  readonly line: string;
  readonly words: string;
  readonly origin: Origin | undefined;
}

/** What virtual servers are to be; undefined: not there. */
export type Targets = ReadonlyMap<VirtualServerKey, TargetServer | undefined>;

/** Those that are to be there. */
export function coming(targets: Targets): Targets {
  return new Map([...targets].filter(([, target]) => target !== undefined));
}

/** 2,000 servers of three real servers each take 55 s in a virtual machine without hardware support. */
const leastTimeoutMs = 60_000;
const timeoutMsPerLine = 20;

/** So many lines that the tool's parser will not read are gone past: each costs a run. */
const mostUnreadable = 32;

/** Our virtual servers in the kernel, as they are known to be, and their only writer. */
export class ServerTable {
  readonly #parts: ServerTableParts;
  #servers: Map<VirtualServerKey, KernelServer> = new Map();
  /** The kernel's table was seen to leave servers out: the tool is asked, which takes ten times as long. */
  #isTableTorn = false;

  constructor(parts: ServerTableParts) {
    this.#parts = parts;
  }

  get servers(): ReadonlyMap<VirtualServerKey, KernelServer> {
    return this.#servers;
  }

  /**
   * Reads what the kernel has, of some servers where only these matter. A server that is known and not in the table of
   * the kernel, or one that `isDoubted`, may be left out there: then the tool is asked.
   */
  async read(signal: AbortSignal, only?: ServerKeys, isDoubted = false): Promise<ObservedServers> {
    if (this.#isTableTorn) return this.#list(signal, only);
    const observed = await readServers(this.#parts.family, this.#parts.readTable, only);
    const isMissing = (key: VirtualServerKey): boolean =>
      only?.has(key) !== false && !observed.has(key);
    if (!isDoubted && ![...this.#servers.keys()].some(isMissing)) return observed;
    const listed = await this.#list(signal, only);
    const leftOut = [...listed.keys()].find(isMissing);
    if (leftOut === undefined) return listed;
    this.#isTableTorn = true;
    this.#parts.log.warn(
      { server: leftOut },
      '/proc/net/ip_vs leaves out virtual servers, as it does where other network namespaces have some too; ipvsadm is asked from now on',
    );
    return listed;
  }

  /** Takes what was read for what is there; what is known of who wanted it is kept. */
  take(observed: readonly ObservedServer[]): void {
    const wanted = (key: VirtualServerKey) => this.#servers.get(key)?.wanted;
    this.#servers = new Map(
      observed.map((each) => [each.key, { ...kernelServer(each), wanted: wanted(each.key) }]),
    );
  }

  /** Takes what the kernel's table does not show for unknown, so that a write makes it sure; gives the servers. */
  doubtUnshown(): readonly VirtualServerKey[] {
    const doubted = [...this.#servers.values()].filter(({ wanted }) => wanted && !isShown(wanted));
    for (const server of doubted) this.#servers.set(server.key, { ...server, args: undefined });
    return doubted.map(({ key }) => key);
  }

  /**
   * Brings virtual servers to what they are to be, in one run of ipvsadm. Where it says that something went wrong, what
   * these servers are is read back, and what is still to be done is tried once more; gives what was refused
   * even so, by server. Rejects where nothing can be done at all.
   */
  async write(
    targets: Targets,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<VirtualServerKey, RefusedLine>> {
    const refused = new Map<VirtualServerKey, RefusedLine>();
    let isRetried = false;
    for (let unreadable = 0; unreadable < mostUnreadable;) {
      const pending = this.#changes(targets, refused);
      if (pending.length === 0) return refused;
      const complaint = await this.#run(pending, signal);
      if (complaint === undefined) {
        for (const [key, target] of targets) if (!refused.has(key)) this.#set(key, target);
        return refused;
      }
      await this.#readBack(targets, complaint, signal);
      const rest = this.#changes(targets, refused);
      if (complaint.isUnread && rest[0] !== undefined) {
        unreadable++;
        refused.set(rest[0].server, refusal(rest[0], complaint.words.join('; ')));
      } else if (isRetried) {
        for (const [at, each] of rest.entries()) {
          const words = wordsFor(at, rest.length, complaint.words);
          if (!refused.has(each.server)) refused.set(each.server, refusal(each, words));
        }
        return refused;
      } else isRetried = true;
    }
    throw new SwitchyardError('tool', `ipvsadm cannot read what it is given: ${firstOf(refused)}`, {
      retryable: true,
    });
  }

  #changes(targets: Targets, except: { has(key: VirtualServerKey): boolean }): readonly Change[] {
    return [...targets].flatMap(([key, target]) =>
      except.has(key) ? [] : diffServer(this.#servers.get(key), target),
    );
  }

  #set(key: VirtualServerKey, target: TargetServer | undefined): void {
    if (target === undefined) this.#servers.delete(key);
    else this.#servers.set(key, achieved(target, this.#servers.get(key)));
  }

  async #run(changes: readonly Change[], signal: AbortSignal): Promise<Complaint | undefined> {
    const input = changes.map(({ line }) => `${line}\n`).join('');
    const result = await this.#parts.tools.run('ipvsadm', ['--restore'], {
      input,
      timeoutMs: leastTimeoutMs + timeoutMsPerLine * changes.length,
      signal,
    });
    return complaintOf(result);
  }

  async #list(signal: AbortSignal, only: ServerKeys | undefined): Promise<ObservedServers> {
    return listServers(this.#parts.family, this.#parts.tools, signal, only);
  }

  async #readBack(targets: Targets, { words }: Complaint, signal: AbortSignal): Promise<void> {
    const isDoubted = words.some((each) => /already exists/.test(each));
    const observed = await this.read(signal, targets, isDoubted);
    for (const [key, target] of targets) {
      const found = observed.get(key);
      if (found === undefined) {
        this.#servers.delete(key);
        continue;
      }
      const known = kernelServer(found);
      const wanted = target?.wanted ?? this.#servers.get(key)?.wanted;
      const isAsWritten = target?.wanted !== undefined && isScheduledAs(found, target.wanted);
      const args = isAsWritten ? target.args : known.args;
      this.#servers.set(key, { ...known, args, wanted });
    }
  }
}

/** Whether a server was found with the scheduler, and persistent or not, as it was written. */
export function isScheduledAs(
  observed: ObservedServer,
  { scheduler, persistentSeconds }: VirtualServer,
): boolean {
  const isPersistent = observed.persistentTicks !== undefined;
  return observed.scheduler === scheduler && isPersistent === (persistentSeconds !== undefined);
}

/** A refused virtual server as a reason: `ipvsadm refused "-A -t 10.96.0.1:80 -s nosuch": …`. */
export function refusalReason({ line, words }: RefusedLine): string {
  return `ipvsadm refused "${line}": ${words}`;
}

function wordsFor(at: number, count: number, words: readonly string[]): string {
  const own = words.length === count ? words[at] : undefined;
  return own ?? [...new Set(words)].join('; ');
}

function refusal({ line, origin }: Change, words: string): RefusedLine {
  return { line, words, origin };
}

function firstOf(refused: ReadonlyMap<VirtualServerKey, RefusedLine>): string {
  const [first] = refused.values();
  return first === undefined ? '' : refusalReason(first);
}
