import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../clock.ts';
import type { CgroupReader, CgroupUsage } from '../../host/cgroup-usage.ts';
import { readNetworkUse } from '../../host/network-usage.ts';
import type { InterfaceUse } from '../../host/network-usage.ts';
import { memberCgroup, podCgroupPaths } from '../runtime/cgroups.ts';
import type { RuntimeContainer, RuntimePod } from '../runtime/runtime-pod.ts';
import type { CgroupSettings } from '../runtime/settings.ts';

/** What the cgroups of a pod say; undefined: it has none that is known. */
export interface PodReading {
  readonly pod: RuntimePod;
  readonly cgroup: Placed | undefined;
  readonly sandboxId: string;
  /** Of the cgroup of its pause process, which is not read. */
  readonly sandboxPath: string | undefined;
  /** undefined: it is in the node's network, or cannot be seen. */
  readonly network: readonly InterfaceUse[] | undefined;
  /** Those that run. */
  readonly containers: readonly ContainerReading[];
  readonly atMs: number;
}

export interface ContainerReading {
  readonly container: RuntimeContainer;
  readonly cgroup: Placed | undefined;
  readonly atMs: number;
}

/** A cgroup's path in its tree, and what it has used. */
export interface Placed {
  readonly path: string;
  readonly usage: CgroupUsage;
}

export interface PodReadingsOptions {
  readonly pods: () => Iterable<RuntimePod>;
  readonly cgroups: CgroupReader;
  readonly settings: Pick<CgroupSettings, 'root' | 'driver' | 'perQos'>;
  readonly clock: Clock;
  readonly readNetwork?: typeof readNetworkUse;
}

/** Reads the cgroups of all pods that are up, one pod after another. */
export class PodReadings {
  readonly #options: PodReadingsOptions;
  /** Of pods that had one; a pod's class does not change. */
  #places: ReadonlyMap<string, string> = new Map();

  constructor(options: PodReadingsOptions) {
    this.#options = options;
  }

  async read(): Promise<readonly PodReading[]> {
    const readings: PodReading[] = [];
    const places = new Map<string, string>();
    for (const pod of this.#options.pods()) {
      const [sandbox] = pod.sandboxes;
      if (sandbox?.state !== 'ready') continue;
      const path = this.#placeOf(pod.uid);
      if (path !== undefined) places.set(pod.uid, path);
      readings.push(await this.#readPod(pod, path));
      await setImmediate();
    }
    this.#places = places;
    return readings;
  }

  #placeOf(uid: string): string | undefined {
    const { settings, cgroups } = this.#options;
    if (!settings.perQos) return undefined;
    const known = this.#places.get(uid);
    if (known !== undefined && cgroups.has(known)) return known;
    return podCgroupPaths(settings, uid).find((path) => cgroups.has(path));
  }

  async #readPod(pod: RuntimePod, path: string | undefined): Promise<PodReading> {
    const [sandbox] = pod.sandboxes;
    const sandboxId = sandbox?.id ?? '';
    const member = (id: string): Placed | undefined =>
      path === undefined ? undefined : this.#at(memberCgroup(this.#options.settings, path, id));
    const running = pod.containers.filter(({ state }) => state === 'running');
    const containers = running.map((container) => ({
      container,
      cgroup: member(container.id),
      atMs: this.#options.clock.now(),
    }));
    const isOwnNetwork = sandbox?.network === 'pod';
    return {
      pod,
      cgroup: path === undefined ? undefined : this.#at(path),
      sandboxId,
      sandboxPath:
        path === undefined ? undefined : memberCgroup(this.#options.settings, path, sandboxId),
      network:
        isOwnNetwork && path !== undefined
          ? await this.#network(path, [sandboxId, ...running.map(({ id }) => id)])
          : undefined,
      containers,
      atMs: this.#options.clock.now(),
    };
  }

  #at(path: string): Placed | undefined {
    const usage = this.#options.cgroups.read(path);
    return usage && { path, usage };
  }

  /** By any process that is in it. */
  async #network(
    path: string,
    ids: readonly string[],
  ): Promise<readonly InterfaceUse[] | undefined> {
    const { cgroups, settings, readNetwork = readNetworkUse } = this.#options;
    for (const id of ids) {
      const pid = cgroups.member(memberCgroup(settings, path, id));
      if (pid !== undefined) return readNetwork(pid);
    }
    return undefined;
  }
}
