import type { EvictionConfig, EvictionThreshold } from '../../config/eviction-config.ts';
import { thresholdOf } from './capacity.ts';
import { meaningOf } from './observations.ts';
import type { Observation, Observations, Pressure } from './observations.ts';

/** A threshold that a node is below. */
export interface MetThreshold extends Observation {
  readonly threshold: EvictionThreshold;
  /** In bytes or pieces. */
  readonly below: number;
}

/** Since when a threshold is met, and whether it was for as long as it has to be. */
interface Standing {
  readonly sinceMs: number;
  readonly isDue: boolean;
}

/**
 * Holds what is read of a node against its thresholds (Kubernetes: Node-pressure Eviction). One that was met for as long as it has to be
 * stays met until there is as much more as is to be reclaimed; a pressure is told of for a while after it was seen last.
 */
export class PressureWatch {
  readonly #config: EvictionConfig;
  readonly #met = new Map<EvictionThreshold, Standing>();
  readonly #seenAtMs = new Map<Pressure, number>();

  constructor(config: EvictionConfig) {
    this.#config = config;
  }

  /** Thresholds for which something has to be done now, memory first. Times are the monotonic clock's. */
  observe(observations: Observations, nowMs: number): readonly MetThreshold[] {
    const due = this.#config.thresholds.flatMap((threshold) => {
      const met = this.#judge(threshold, observations, nowMs);
      return met === undefined ? [] : [met];
    });
    return due.toSorted((a, b) => order(a) - order(b));
  }

  /** Under which the node is, or was a short while ago. */
  pressures(nowMs: number): ReadonlySet<Pressure> {
    const { transitionMs } = this.#config;
    const pressing = [...this.#seenAtMs].filter(([, seenAtMs]) => nowMs - seenAtMs <= transitionMs);
    return new Set(pressing.map(([pressure]) => pressure));
  }

  #judge(
    threshold: EvictionThreshold,
    observations: Observations,
    nowMs: number,
  ): MetThreshold | undefined {
    const observation = observations.get(threshold.signal);
    const before = this.#met.get(threshold);
    if (observation === undefined) {
      this.#met.delete(threshold);
      return undefined;
    }
    const { available, capacity } = observation;
    const below = thresholdOf(threshold.below, capacity);
    const more = before?.isDue === true ? thresholdOf(threshold.reclaim, capacity) : 0;
    if (available >= below + more) {
      this.#met.delete(threshold);
      return undefined;
    }
    this.#seenAtMs.set(meaningOf[threshold.signal].pressure, nowMs);
    const sinceMs = before?.sinceMs ?? nowMs;
    const isDue = before?.isDue === true || nowMs - sinceMs >= (threshold.graceMs ?? 0);
    this.#met.set(threshold, { sinceMs, isDue });
    return isDue ? { threshold, below, available, capacity } : undefined;
  }
}

/** A machine without memory does nothing any more; what needs no grace is worse than what does. */
function order({ threshold }: MetThreshold): number {
  const isMemory = threshold.signal === 'memory.available';
  return (isMemory ? 0 : 2) + (threshold.graceMs === undefined ? 0 : 1);
}
