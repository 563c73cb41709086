import type { After } from './dialer.ts';
import type { UdpFlow } from './udp-flow.ts';

/** Flows of one worker: each holds a file descriptor and some kernel memory. */
const mostFlows = 8192;

/** How many flows one of so many workers may have, where connections and flows may have so many file descriptors. */
export function mostFlowsOf(files = Number.POSITIVE_INFINITY, workers = 1): number {
  return Math.max(2, Math.min(mostFlows, Math.floor((0.25 * files) / workers)));
}

/** Expired flows are looked for no more often. */
const leastSweepMs = 25;

/** Who has flows in the table. */
export interface FlowOwner {
  /** Gives up its flow: `idle` for too long, or `evicted` for a newer one. */
  drop(flow: UdpFlow, why: 'idle' | 'evicted'): void;
}

/** All flows of one worker, those that have been idle longest first. */
export class FlowTable {
  readonly #after: After;
  readonly #now: () => number;
  readonly #most: number;
  readonly #owners = new Map<UdpFlow, FlowOwner>();
  #stop: (() => void) | undefined;
  #wakesAt = Number.POSITIVE_INFINITY;

  constructor(after: After, now: () => number, most = mostFlowsOf()) {
    this.#after = after;
    this.#now = now;
    this.#most = most;
  }

  /** Flows of one listener, so that one flooded service does not take the room of all others. */
  get mostOfListener(): number {
    return Math.floor(this.#most / 2);
  }

  add(flow: UdpFlow, owner: FlowOwner): void {
    if (this.#owners.size >= this.#most) this.evictOldest();
    this.#owners.set(flow, owner);
    this.#sweepIn(flow.chosen.pool.udpIdleMs);
  }

  /** Something has passed. */
  touch(flow: UdpFlow): void {
    const owner = this.#owners.get(flow);
    if (owner === undefined) return;
    flow.touched = this.#now();
    this.#owners.delete(flow);
    this.#owners.set(flow, owner);
  }

  delete(flow: UdpFlow): void {
    this.#owners.delete(flow);
  }

  evictOldest(): void {
    for (const [flow, owner] of this.#owners) {
      this.#owners.delete(flow);
      owner.drop(flow, 'evicted');
      return;
    }
  }

  /** Sooner, if a sweep is due before that. */
  #sweepIn(idleMs: number): void {
    const ms = Math.max(leastSweepMs, idleMs);
    const at = this.#now() + ms;
    if (at >= this.#wakesAt) return;
    this.#stop?.();
    this.#wakesAt = at;
    this.#stop = this.#after(ms, () => {
      this.#sweep();
    });
  }

  #sweep(): void {
    const now = this.#now();
    let next = Number.POSITIVE_INFINITY;
    for (const [flow, owner] of this.#owners) {
      const left = flow.touched + flow.chosen.pool.udpIdleMs - now;
      if (left > 0) next = Math.min(next, left);
      else {
        this.#owners.delete(flow);
        owner.drop(flow, 'idle');
      }
    }
    this.#wakesAt = Number.POSITIVE_INFINITY;
    if (next !== Number.POSITIVE_INFINITY) this.#sweepIn(next);
  }
}
