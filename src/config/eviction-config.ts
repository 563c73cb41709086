/** What is watched of a node so that it does not run out of it. */
export const evictionSignals = [
  'memory.available',
  'nodefs.available',
  'nodefs.inodesFree',
  'imagefs.available',
  'imagefs.inodesFree',
  'pid.available',
] as const;

export type EvictionSignal = (typeof evictionSignals)[number];

/** Below which a node is under pressure, and pods are evicted. */
export interface EvictionThreshold {
  readonly signal: EvictionSignal;
  /** A quantity or a percentage of all there is: `100Mi`, `10%`. */
  readonly below: string;
  /** How long it has to be so before a pod is evicted; undefined: not at all, and without a grace for the pod either. */
  readonly graceMs: number | undefined;
  /** How much more than that there has to be before it is over; a quantity or a percentage. */
  readonly reclaim: string | undefined;
}

export interface EvictionConfig {
  readonly thresholds: readonly EvictionThreshold[];
  /** How long a pod may take to end that is evicted after a grace; negative: as long as it says itself. */
  readonly maxPodGraceSeconds: number;
  /** How long pressure is told of after it is over. */
  readonly transitionMs: number;
}

/** When images go that nobody uses. */
export interface ImageGcConfig {
  /** Of the disk with the images; 100: never for want of room. */
  readonly highPercent: number;
  readonly lowPercent: number;
  /** Younger ones stay, whatever the disk is like. */
  readonly minAgeMs: number;
  /** What was not used for longer goes; 0: nothing does for its age. */
  readonly maxAgeMs: number;
}

/** Pods from this priority up to the next group's end together when the machine is shut down, within this time. */
export interface ShutdownGroup {
  readonly priority: number;
  readonly seconds: number;
}

type Pairs = Readonly<Record<string, string>>;

/** Whether a threshold is one that counts: 0% and 100% switch it off. */
export function isThreshold(text: string): boolean {
  return text !== '0%' && text !== '100%';
}

/** All thresholds, hard ones first, by settings that have been validated. */
export function evictionThresholds(settings: {
  readonly hard: Pairs;
  readonly soft: Pairs;
  /** Milliseconds by signal. */
  readonly graceMs: Readonly<Record<string, number>>;
  readonly reclaim: Pairs;
}): readonly EvictionThreshold[] {
  const of = (pairs: Pairs, isHard: boolean): readonly EvictionThreshold[] =>
    evictionSignals.flatMap((signal) => {
      const below = pairs[signal];
      if (below === undefined || !isThreshold(below)) return [];
      const graceMs = isHard ? undefined : (settings.graceMs[signal] ?? 0);
      return { signal, below, graceMs, reclaim: settings.reclaim[signal] };
    });
  return [...of(settings.hard, true), ...of(settings.soft, false)];
}
