import { join } from 'node:path';
import { readDiskSpace } from '../../host/disk-space.ts';
import { Evictor } from '../eviction/evictor.ts';
import { ImageGc } from '../housekeeping/image-gc.ts';
import { ImageRecords } from '../housekeeping/image-records.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import type { NodeParts } from './node-parts.ts';
import type { NodeUpkeep } from './node-upkeep.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodUsages } from '../ports/pod-usage.ts';
import { normalImageName } from '../images/image-name.ts';
import type { PodWorkers } from '../worker/pod-workers.ts';

export interface NodeReliefOptions {
  readonly base: KubeletBase;
  readonly node: Pick<NodeParts, 'pressures' | 'read'>;
  readonly workers: Pick<PodWorkers, 'all' | 'state' | 'kill'>;
  readonly upkeep: Pick<NodeUpkeep, 'removeDead'>;
  readonly usage: PodUsages;
  /** Whether all pods of this node are known. */
  readonly isReady: () => boolean;
}

/**
 * What is taken off a node so that it does not run out of memory, disk or processes: images, and pods (Kubernetes: Garbage Collection;
 * Node-pressure Eviction).
 */
export class NodeRelief {
  readonly #options: NodeReliefOptions;
  readonly #images: ImageGc;
  readonly #evictor: Evictor;

  constructor(options: NodeReliefOptions) {
    this.#options = options;
    const { base, node, workers, upkeep, usage, isReady } = options;
    const { config, cri, clock, log, events, metrics, rootDir } = base;
    this.#images = new ImageGc({
      config: config.imageGc,
      images: cri.images,
      runtime: cri.runtime,
      records: new ImageRecords(join(rootDir, 'images.json')),
      wanted: () => this.#wantedImages(),
      isReady,
      readSpace: readDiskSpace,
      events: events.ofNode,
      removed: (reason) => metrics.relief.imageRemoved(reason),
      clock,
      log,
    });
    this.#evictor = new Evictor({
      watch: node.pressures,
      maxPodGraceSeconds: config.eviction.maxPodGraceSeconds,
      countsLocalStorage: config.node.countsLocalStorage,
      read: async () => node.read(),
      usage,
      pods: () => activePods(workers),
      isGone: (uid) => (workers.state(uid)?.kind ?? 'finished') === 'finished',
      end: (uid, end) => workers.kill(uid, end),
      reclaimDisk: async (signal) => {
        await upkeep.removeDead();
        await this.#images.removeUnused(signal);
      },
      events,
      evicted: (signal) => metrics.relief.evicted(signal),
      clock,
      log,
    });
  }

  /** Until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#images.run(signal), this.#evictor.run(signal)]);
  }

  /** Of pods that run or will: an image that was just pulled is not used by a container yet. */
  #wantedImages(): readonly string[] {
    const pods = activePods(this.#options.workers);
    return pods.flatMap(({ spec }) =>
      [...spec.containers, ...spec.initContainers, ...spec.ephemeralContainers].flatMap(
        ({ image }) => normalImageName(image) ?? [],
      ),
    );
  }
}

/** Those that run or will, and do not end. */
function activePods(workers: Pick<PodWorkers, 'all'>): readonly Pod[] {
  return workers.all().flatMap(({ state, pod }) => (state.kind === 'syncing' ? (pod ?? []) : []));
}
