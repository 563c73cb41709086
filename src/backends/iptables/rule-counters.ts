import { errorText } from '../../error.ts';
import type { TrafficSink } from '../../telemetry/traffic-tally.ts';
import type { ApplyPort } from './apply.ts';
import { isDnat, readCountedRules } from './counted-rules.ts';
import type { CountedRule, CountedRules } from './counted-rules.ts';
import type { Chain, ChainName } from './state.ts';

/** What was last read of a chain; rules that were just written have counted nothing. */
interface Seen {
  /** Packets by place among the chain's DNAT rules. */
  readonly packets: readonly number[];
  /** The reading that gave it. */
  readonly reading: number;
}

/** What a write does to chains of nat. */
export interface CountersChange {
  readonly rewritten: readonly Chain[];
  /** Nothing leads to them any more, and they are deleted next. */
  readonly deleted: readonly ChainName[];
}

/** Waiting for counters must not hold up a change for longer. */
const beforeWriteMs = 2000;
const readMs = 60_000;

/**
 * Counts the connections of service ports by the rules that translate them: every new connection or UDP flow meets exactly
 * one DNAT rule, with its first packet. A rule's counter ends when its chain is rewritten or deleted, so it is read right
 * before that, and what it has counted is kept; what comes between that look and the write is lost.
 * What rules of an earlier run had counted before they were first read is not this run's.
 */
export class RuleCounters {
  readonly #port: ApplyPort;
  readonly #sink: TrafficSink;
  /** The chains of nat that the kernel has. */
  #chains: ReadonlyMap<ChainName, Chain> = new Map();
  /** Written since; they come before those above. */
  readonly #since = new Map<ChainName, Chain>();
  /** Being written or deleted: what is read of them may be of before or after that. */
  #changing: ReadonlySet<ChainName> = new Set();
  readonly #seen = new Map<ChainName, Seen>();
  /** Numbers readings and writes: what was read before a chain was written or read again says nothing any more. */
  #clock = 0;

  constructor(port: ApplyPort, sink: TrafficSink) {
    this.#port = port;
    this.#sink = sink;
  }

  /** Adds what all rules have counted since they were last looked at. */
  async read(signal: AbortSignal): Promise<void> {
    if (this.#chains.size > 0) await this.#read(undefined, readMs, signal);
  }

  /** Runs a write, which ends what some rules have counted; that is added before. The write is refused where it gives something. */
  async change<T>(
    { rewritten, deleted }: CountersChange,
    write: () => Promise<T | undefined>,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const names = [...rewritten.map(({ name }) => name), ...deleted];
    await this.#beforeWrite(names, signal);
    this.#changing = new Set(names);
    try {
      const refusal = await write();
      if (refusal === undefined) this.#written(rewritten, deleted);
      return refusal;
    } finally {
      this.#changing = new Set();
    }
  }

  /** All chains of nat, now that everything is written. */
  applied(nat: ReadonlyMap<ChainName, Chain>): void {
    this.#chains = nat;
    this.#since.clear();
  }

  /** Nothing that goes wrong keeps a write waiting. */
  async #beforeWrite(names: readonly ChainName[], signal: AbortSignal): Promise<void> {
    const counting = [...new Set(names)].filter((name) => this.#chain(name)?.rules.some(isDnat));
    if (counting.length === 0) return;
    let why = 'the tool does not show their chains';
    try {
      const found = await this.#read(counting, beforeWriteMs, signal);
      if (counting.every((name) => found.has(name))) return;
    } catch (error) {
      signal.throwIfAborted();
      why = errorText(error);
    }
    this.#sink.missed?.();
    this.#port.log.debug({ chains: counting.length }, `connections are not counted: ${why}`);
  }

  /** Rules that were written count from nothing. */
  #written(chains: readonly Chain[], deleted: readonly ChainName[]): void {
    const reading = ++this.#clock;
    for (const name of deleted) this.#seen.delete(name);
    for (const chain of chains) {
      this.#since.set(chain.name, chain);
      this.#seen.set(chain.name, { packets: [], reading });
    }
  }

  #chain(name: ChainName): Chain | undefined {
    return this.#since.get(name) ?? this.#chains.get(name);
  }

  async #read(
    names: readonly ChainName[] | undefined,
    timeoutMs: number,
    signal: AbortSignal,
  ): ReturnType<typeof readCountedRules> {
    const reading = ++this.#clock;
    const found = await readCountedRules(this.#port, names, timeoutMs, signal);
    for (const [name, rules] of found) this.#note(name, rules, reading);
    return found;
  }

  #note(name: ChainName, found: CountedRules, reading: number): void {
    const chain = this.#chain(name);
    if (chain === undefined || this.#changing.has(name)) return;
    const ours = chain.rules.filter(isDnat);
    if (!areCounted(ours, found)) return; // somebody else's, or half a chain
    const seen = this.#seen.get(name);
    if (seen !== undefined && seen.reading > reading) return;
    const packets = found.map((rule) => rule.packets);
    this.#seen.set(name, { packets, reading });
    if (seen === undefined) return;
    ours.forEach(({ origin }, at) => {
      const [now = 0, before = 0] = [packets[at], seen.packets[at]];
      // Less than before: somebody has set the counters to nothing (iptables -Z).
      const connections = now >= before ? now - before : now;
      if (origin !== undefined) this.#sink.add(origin.servicePort, { connections });
    });
  }
}

function areCounted(ours: Chain['rules'], found: readonly CountedRule[]): boolean {
  return (
    ours.length === found.length &&
    ours.every(({ args }, at) => args.endsWith(` ${found[at]?.target}`))
  );
}
