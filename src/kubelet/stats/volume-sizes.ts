import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../clock.ts';
import { diskUse, mountUse } from '../../host/disk-use.ts';
import type { DiskUse } from '../../host/disk-use.ts';
import type { VolumeUse } from '../ports/pod-usage.ts';
import { AtOnce } from '../at-once.ts';
import type { PodDirectories } from '../volumes/pod-directories.ts';

export interface VolumeSizesOptions {
  readonly directories: Pick<PodDirectories, 'volumes'>;
  readonly clock: Clock;
  /** `volumeStatsAggPeriod`; below 0: nothing is measured. */
  readonly everyMs: number;
}

/** Of one folder. */
interface Known {
  use: DiskUse | undefined;
  walking: Promise<void> | undefined;
  dueMs: number;
}

/** Kinds whose files lie in the kubelet's own folder; others are of no one's ephemeral storage. */
const plugins: ReadonlySet<string> = new Set(
  ['empty-dir', 'configmap', 'secret', 'projected', 'downward-api'].map(
    (name) => `kubernetes.io~${name}`,
  ),
);
/** Who asks does not wait longer for a walk; it goes on, and the next one has what came of it. */
const waitMs = 2000;
/** A folder of so many files that it takes long is walked less often: a twentieth of the time at most is spent on it. */
const restFactor = 20;
const walksAtOnce = 2;

/** How large the volumes of pods are: folders are walked once a minute at most, and only when somebody asks. */
export class VolumeSizes {
  readonly #options: VolumeSizesOptions;
  /** By pod's UID, and by path. */
  readonly #known = new Map<string, Map<string, Known>>();
  readonly #stopping = new AbortController();
  readonly #atOnce = new AtOnce(walksAtOnce);

  constructor(options: VolumeSizesOptions) {
    this.#options = options;
  }

  /** By name; those that are not known yet are left out. */
  async of(uid: string): Promise<ReadonlyMap<string, VolumeUse>> {
    if (this.#options.everyMs < 0) return new Map();
    const folder = this.#options.directories.volumes(uid);
    const sizes = new Map<string, VolumeUse>();
    for (const plugin of await names(folder)) {
      if (!plugins.has(plugin)) continue;
      for (const name of await names(join(folder, plugin))) {
        const use = await this.#sizeOf(uid, join(folder, plugin, name));
        if (use !== undefined) sizes.set(name, use);
      }
    }
    return sizes;
  }

  /** What is known of all other pods' volumes is forgotten. */
  keepOnly(uids: ReadonlySet<string>): void {
    for (const uid of this.#known.keys()) if (!uids.has(uid)) this.#known.delete(uid);
  }

  /** Walks that are under way end. */
  stop(): void {
    this.#stopping.abort();
  }

  async #sizeOf(uid: string, path: string): Promise<VolumeUse | undefined> {
    const mounted = await mountUse(path).catch(() => undefined);
    if (mounted !== undefined) return { ...mounted, inMemory: true };
    const use = await this.#walked(uid, path);
    return use && { ...use, inMemory: false };
  }

  async #walked(uid: string, path: string): Promise<DiskUse | undefined> {
    const ofPod = this.#known.get(uid) ?? new Map<string, Known>();
    this.#known.set(uid, ofPod);
    const known = ofPod.get(path) ?? { use: undefined, walking: undefined, dueMs: -Infinity };
    ofPod.set(path, known);
    const { clock } = this.#options;
    if (known.walking === undefined && clock.monotonic() >= known.dueMs) {
      known.walking = this.#walk(path, known);
    }
    if (known.walking === undefined) return known.use;
    const enough = new AbortController();
    await Promise.race([known.walking, clock.sleep(waitMs, enough.signal)]);
    enough.abort();
    return known.use;
  }

  async #walk(path: string, known: Known): Promise<void> {
    const { clock, everyMs } = this.#options;
    const { signal } = this.#stopping;
    try {
      await this.#atOnce.with(signal, async () => {
        const begunMs = clock.monotonic();
        // it may be gone
        known.use = await diskUse(path, signal).catch(() => undefined);
        const nowMs = clock.monotonic();
        known.dueMs = nowMs + Math.max(everyMs, restFactor * (nowMs - begunMs));
      });
    } catch {
      // the agent ends
      known.use = undefined;
    }
    known.walking = undefined;
  }
}

async function names(folder: string): Promise<readonly string[]> {
  return readdir(folder).catch((): string[] => []);
}
