import type { Clock } from '../../clock.ts';
import { targetOf } from './diff.ts';
import type { KernelServer, TargetServer } from './diff.ts';
import type { ObservedServers } from './kernel-table.ts';
import type { RealServer, RealServerKey, VirtualServer, VirtualServerKey } from './state.ts';

/** What drains, for metrics. */
export interface Draining {
  readonly count: number;
  /** 0 where nothing drains. */
  readonly oldestMs: number;
}

export interface DrainsParts {
  readonly clock: Clock;
  /** Where a Service says nothing. */
  readonly drainSeconds: number;
}

interface Drain {
  readonly sinceMs: number;
  readonly deadlineMs: number;
  /** It had no connection left when it was looked at, or the deadline has passed: it is to go. */
  readonly isOver: boolean;
}

/**
 * Real servers that nobody wants any more and that still have connections. They get no new ones (weight 0) and go when
 * the last has ended, or at a deadline: a connection may stay open for days.
 */
export class Drains {
  readonly #parts: DrainsParts;
  readonly #drains = new Map<VirtualServerKey, Map<RealServerKey, Drain>>();

  constructor(parts: DrainsParts) {
    this.#parts = parts;
  }

  /** Virtual servers with a real server that drains. */
  get servers(): Iterable<VirtualServerKey> {
    return this.#drains.keys();
  }

  get isIdle(): boolean {
    return this.#drains.size === 0;
  }

  get draining(): Draining {
    const all = [...this.#drains.values()].flatMap((drains) => [...drains.values()]);
    const now = this.#parts.clock.monotonic();
    const oldestMs = all.reduce((most, { sinceMs }) => Math.max(most, now - sinceMs), 0);
    return { count: all.length, oldestMs };
  }

  /** Until the first deadline that has not passed; infinite where all have. */
  get untilDeadlineMs(): number {
    const now = this.#parts.clock.monotonic();
    const all = [...this.#drains.values()].flatMap((drains) => [...drains.values()]);
    const ahead = all.filter(({ isOver, deadlineMs }) => !isOver && deadlineMs > now);
    return ahead.reduce((least, { deadlineMs }) => Math.min(least, deadlineMs - now), Infinity);
  }

  /**
   * What a virtual server is to be: what is wanted, and what of the kernel's drains. A server that nobody wants is to go,
   * but where rules refuse new connections to it: a Service that has lost its endpoints keeps its connections.
   */
  target(
    have: KernelServer | undefined,
    wanted: VirtualServer | undefined,
    isRefused: () => boolean,
  ): TargetServer | undefined {
    const key = (wanted ?? have)?.key;
    if (key === undefined) return undefined;
    const drains = have !== undefined && (wanted !== undefined || isRefused());
    const rest = drains ? this.#remaining(have, wanted) : new Map<RealServerKey, RealServer>();
    if (!drains) this.#drains.delete(key);
    if (wanted === undefined) return drains && rest.size > 0 ? refusing(have, rest) : undefined;
    const target = targetOf(wanted);
    if (rest.size === 0) return target;
    return { ...target, realServers: new Map([...rest, ...wanted.realServers]) };
  }

  /** Takes note of what has no connection left, or is not there any more. */
  look(observed: ObservedServers): void {
    for (const [server, drains] of this.#drains) {
      const there = observed.get(server)?.realServers;
      for (const [real, drain] of drains) {
        if ((there?.get(real)?.connections ?? 0) === 0)
          drains.set(real, { ...drain, isOver: true });
      }
    }
  }

  /** Forgets a server that stays as it is. */
  forget(server: VirtualServerKey): void {
    this.#drains.delete(server);
  }

  /** Forgets what has been removed. */
  settle(servers: ReadonlyMap<VirtualServerKey, KernelServer>): void {
    for (const [server, drains] of this.#drains) {
      const there = servers.get(server)?.realServers;
      for (const real of drains.keys()) if (there?.has(real) !== true) drains.delete(real);
      if (drains.size === 0) this.#drains.delete(server);
    }
  }

  /** The real servers that have to stay for their connections, with weight 0; remembers since when. */
  #remaining(
    have: KernelServer,
    wanted: VirtualServer | undefined,
  ): ReadonlyMap<RealServerKey, RealServer> {
    const before = this.#drains.get(have.key);
    const drains = new Map<RealServerKey, Drain>();
    const rest = new Map<RealServerKey, RealServer>();
    if (isLeftAtOnce(have, wanted)) return rest;
    for (const [key, real] of have.realServers) {
      if (wanted?.realServers.has(key) === true || real.isForeign === true) continue;
      const drain = before?.get(key) ?? this.#begin(have, wanted);
      const isOver = drain.isOver || drain.deadlineMs <= this.#parts.clock.monotonic();
      drains.set(key, { ...drain, isOver });
      if (!isOver) rest.set(key, { ...real, weight: 0 });
    }
    if (drains.size > 0) this.#drains.set(have.key, drains);
    else this.#drains.delete(have.key);
    return rest;
  }

  #begin(have: KernelServer, wanted: VirtualServer | undefined): Drain {
    const sinceMs = this.#parts.clock.monotonic();
    const seconds = (wanted ?? have.wanted)?.drainSeconds ?? this.#parts.drainSeconds;
    return { sinceMs, deadlineMs: sinceMs + seconds * 1000, isOver: false };
  }
}

/** A flow of UDP has no end; and `dh` goes on choosing a real server that drains, so that all who ask would be refused. */
function isLeftAtOnce({ protocol }: KernelServer, wanted: VirtualServer | undefined): boolean {
  return protocol === 'UDP' || wanted?.scheduler === 'dh';
}

/** A server that takes no new connection, otherwise left as it is. */
function refusing(
  { key, address, protocol, port, wanted, args }: KernelServer,
  realServers: ReadonlyMap<RealServerKey, RealServer>,
): TargetServer {
  const place = { key, address, protocol, port };
  return { ...place, args, realServers, wanted };
}
