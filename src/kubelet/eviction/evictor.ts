import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { NodeReadings } from '../node/node-readings.ts';
import type { NodeEvents } from '../ports/node-events.ts';
import { podText } from '../pod/pod.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodEvents } from '../ports/pod-events.ts';
import type { ForcedEnd } from '../ports/pod-status.ts';
import type { PodUsages } from '../ports/pod-usage.ts';
import { isCriticalPod } from '../sources/sourced-pod.ts';
import { evictionMessage } from './eviction-message.ts';
import { meaningOf, observe } from '../node/observations.ts';
import { allStorage } from './pod-amounts.ts';
import type { StorageParts } from './pod-amounts.ts';
import type { MetThreshold, PressureWatch } from '../node/pressure-watch.ts';
import { ranked } from './ranking.ts';
import { limitsStorage, storageProblem } from './storage-limits.ts';

export interface EvictorOptions {
  readonly watch: PressureWatch;
  readonly maxPodGraceSeconds: number;
  /** Whether limits of ephemeral storage count. */
  readonly countsLocalStorage: boolean;
  /** Reads the node anew. */
  readonly read: () => Promise<Omit<NodeReadings, 'problems'>>;
  readonly usage: PodUsages;
  /** Those that run or will, and are not ending. */
  readonly pods: () => readonly Pod[];
  /** Whether nothing of it is there any more. */
  readonly isGone: (uid: string) => boolean;
  readonly end: (uid: string, end: { graceSeconds: number; forced: ForcedEnd }) => void;
  /** Removes dead containers and images that nobody uses. */
  readonly reclaimDisk: (signal: AbortSignal) => Promise<void>;
  readonly events: PodEvents & { readonly ofNode: NodeEvents };
  /** Counts evictions by signal. */
  readonly evicted: (signal: string) => void;
  readonly clock: Clock;
  readonly log: Log;
}

const everyMs = 10_000;
/** What is short is measured again only when the pod has gone, or as long after. */
const goneWithinMs = 30_000;
const askEveryMs = 200;
/** A machine that is short of something has no time. */
const hardGraceSeconds = 1;

/**
 * Ends pods that use more storage than they may, and one pod at a time where the node is short of something (Kubernetes: Node-pressure
 * Eviction). Critical pods and those of files stay. What could not be read, or is not known of a pod, ends nobody.
 */
export class Evictor {
  readonly #options: EvictorOptions;
  #toldNobody = false;

  constructor(options: EvictorOptions) {
    this.#options = options;
  }

  /** Looks every ten seconds until `signal`. Rejects never. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(everyMs, signal);
      if (signal.aborted) return;
      try {
        await this.turn(signal);
      } catch (error) {
        if (!signal.aborted) log.warn({}, `eviction: ${errorText(error)}`);
      }
    }
  }

  /** Looks once. */
  async turn(signal: AbortSignal): Promise<void> {
    if (await this.#enforceLimits(signal)) return;
    const readings = await this.#options.read();
    const [worst] = this.#due(readings);
    if (worst === undefined) {
      this.#toldNobody = false;
      return;
    }
    const { resource } = meaningOf[worst.threshold.signal];
    const { events } = this.#options;
    events.ofNode.tell('Warning', 'EvictionThresholdMet', `Attempting to reclaim ${resource}`);
    const left = await this.#afterReclaim(worst, readings, signal);
    if (left !== undefined) await this.#relieve(left, storageParts(left, readings), signal);
  }

  #due(readings: Omit<NodeReadings, 'problems'>): readonly MetThreshold[] {
    const { watch, clock } = this.#options;
    return watch.observe(observe(readings), clock.monotonic());
  }

  /** What nobody misses goes first, where it lies on what is short; gives the worst that is left then. */
  async #afterReclaim(
    worst: MetThreshold,
    readings: Omit<NodeReadings, 'problems'>,
    signal: AbortSignal,
  ): Promise<MetThreshold | undefined> {
    const { pressure } = meaningOf[worst.threshold.signal];
    if (pressure !== 'DiskPressure') return worst;
    const isImages = worst.threshold.signal.startsWith('imagefs.');
    if (readings.hasImageDisk === true && !isImages) return worst;
    const { log, reclaimDisk, read } = this.#options;
    try {
      await reclaimDisk(signal);
    } catch (error) {
      log.warn({}, `what nobody uses could not be removed: ${errorText(error)}`);
    }
    return this.#due(await read())[0];
  }

  async #relieve(met: MetThreshold, parts: StorageParts, signal: AbortSignal): Promise<void> {
    const { log, usage } = this.#options;
    const { signal: name, graceMs } = met.threshold;
    const { resource } = meaningOf[name];
    const pods = this.#evictable();
    const usages = await usage.podUsages();
    signal.throwIfAborted();
    const [first] = ranked(pods, usages, resource, parts);
    if (first === undefined) {
      const text = `the node is low on ${resource}, and there is no pod that may be evicted and is known to use it`;
      if (!this.#toldNobody) log.warn({ signal: name }, text);
      this.#toldNobody = true;
      return;
    }
    const graceSeconds = graceMs === undefined ? hardGraceSeconds : this.#softGrace(first.pod);
    const message = evictionMessage(met, first, parts);
    this.#evict(first.pod, graceSeconds, { reason: 'Evicted', message, isDisruption: true }, name);
    await this.#gone([first.pod], signal);
  }

  #softGrace({ spec }: Pod): number {
    const { maxPodGraceSeconds: most } = this.#options;
    const own = spec.terminationGracePeriodSeconds;
    return most < 0 ? own : Math.min(own, most);
  }

  /** Whether a pod was above one of its limits. */
  async #enforceLimits(signal: AbortSignal): Promise<boolean> {
    const { countsLocalStorage, usage } = this.#options;
    const pods = countsLocalStorage ? this.#evictable().filter(limitsStorage) : [];
    if (pods.length === 0) return false;
    const usages = await usage.podUsages();
    signal.throwIfAborted();
    const above = pods.flatMap((pod) => {
      const used = usages.get(pod.metadata.uid);
      const message = used && storageProblem(pod, used);
      return message === undefined ? [] : [{ pod, message }];
    });
    for (const { pod, message } of above) {
      this.#evict(pod, hardGraceSeconds, { reason: 'Evicted', message }, 'ephemeralpodfs.limit');
    }
    await this.#gone(
      above.map(({ pod }) => pod),
      signal,
    );
    return above.length > 0;
  }

  #evictable(): readonly Pod[] {
    return this.#options.pods().filter((pod) => !isCriticalPod(pod));
  }

  #evict(pod: Pod, graceSeconds: number, forced: ForcedEnd, signal: string): void {
    const { events, end, evicted, log } = this.#options;
    log.warn({ pod: podText(pod), signal }, `${podText(pod)} is evicted: ${forced.message}`);
    const { reason, message } = forced;
    events.tell(pod, { type: 'Warning', reason, message });
    evicted(signal);
    end(pod.metadata.uid, { graceSeconds, forced });
  }

  async #gone(pods: readonly Pod[], signal: AbortSignal): Promise<void> {
    const { clock, isGone } = this.#options;
    const untilMs = clock.monotonic() + goneWithinMs;
    const left = (): boolean => pods.some(({ metadata }) => !isGone(metadata.uid));
    while (!signal.aborted && left() && clock.monotonic() < untilMs)
      await clock.sleep(askEveryMs, signal);
  }
}

/** With a disk of their own for images, what is written over them lies there, and all else on the other. */
function storageParts(
  { threshold }: MetThreshold,
  { hasImageDisk }: Omit<NodeReadings, 'problems'>,
): StorageParts {
  if (hasImageDisk !== true) return allStorage;
  const isImages = threshold.signal.startsWith('imagefs.');
  return { layers: isImages, logsAndVolumes: !isImages };
}
