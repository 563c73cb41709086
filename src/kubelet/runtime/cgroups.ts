import type { Clock } from '../../clock.ts';
import type { CgroupChange, CgroupLimits, CgroupTree } from '../../host/cgroups.ts';
import type { QosClass } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import { milliUnits } from '../pod/quantity.ts';
import { qosClassOf } from '../pod/qos.ts';
import { podRequests } from '../pod/resources.ts';
import type { CgroupOperation, PodMeter } from '../ports/pod-meter.ts';
import { AtOnce } from '../at-once.ts';
import { cpuShares, podResources } from './linux-resources.ts';
import type { CgroupSettings, RuntimeSettings } from './settings.ts';
import { systemdSlice } from './slice-names.ts';

type PodOfCgroup = Pick<Pod, 'spec' | 'metadata'>;

/** Below the root: where all pods are. */
const kubepods = '/kubepods';

/** The cgroups of pods and of the classes of pods (Kubernetes: Pod Quality of Service Classes). */
export interface PodCgroups {
  /** What the runtime is told: containers go below it. '' for none. */
  parent(pod: PodOfCgroup): string;
  /** Before the sandbox; again with each sync. `isUp`: something of the pod runs, which a lower limit could end. `signal` ends waiting for others. */
  ensure(pod: PodOfCgroup, isUp: boolean, signal?: AbortSignal): Promise<void>;
  exists(pod: PodOfCgroup): Promise<boolean>;
  /** After the pod; also by its UID alone. */
  remove(uid: string): Promise<void>;
  /** UIDs that have one. */
  known(): Promise<readonly string[]>;
}

/** The runtime puts containers where it likes. */
export const noCgroups: PodCgroups = {
  parent: () => '',
  ensure: async () => {},
  exists: async () => true,
  remove: async () => {},
  known: async () => [],
};

/** Where systemd cannot be asked the runtime has it make slices, without limits, which stay; only their names are given. */
export class NamedSlices implements PodCgroups {
  readonly #root: string;

  constructor({ root }: Pick<CgroupSettings, 'root'>) {
    this.#root = root;
  }

  parent(pod: PodOfCgroup): string {
    return systemdSlice(this.#root, cgroupPath(pod));
  }

  async ensure(): Promise<void> {}

  async exists(): Promise<boolean> {
    return true;
  }

  async remove(): Promise<void> {}

  async known(): Promise<readonly string[]> {
    return [];
  }
}

export interface MakingOptions {
  /** Limits of what stands are raised, never lowered. */
  readonly raising?: boolean;
  /** Ends waiting for others that are made. */
  readonly signal?: AbortSignal;
}

/** Paths below the root that is set: `/kubepods/burstable/podUID`. */
export interface PodTree extends Pick<CgroupTree, 'exists' | 'children' | 'remove'> {
  make(
    path: string,
    limits: CgroupLimits | undefined,
    options: MakingOptions,
  ): Promise<CgroupChange>;
}

/** Who is told how long it takes, and by which clock. */
export interface CgroupTiming {
  readonly meter: Pick<PodMeter, 'cgroupChanged'>;
  readonly clock: Pick<Clock, 'monotonic'>;
}

/** Made here, below the root that is set. */
export class OwnCgroups implements PodCgroups {
  readonly #tree: PodTree;
  readonly #settings: RuntimeSettings;
  readonly #timing: CgroupTiming | undefined;
  /** What Burstable pods ask for, in thousandths of a core: their class has as much. */
  readonly #burstable = new Map<string, bigint>();
  readonly #sharing = new AtOnce(1);
  #madeClasses = false;

  constructor(tree: PodTree, settings: RuntimeSettings, timing?: CgroupTiming) {
    this.#tree = tree;
    this.#settings = settings;
    this.#timing = timing;
  }

  parent(pod: PodOfCgroup): string {
    return groupPath(this.#settings.cgroup, cgroupPath(pod));
  }

  async ensure(pod: PodOfCgroup, isUp: boolean, signal?: AbortSignal): Promise<void> {
    const shares = podResources(pod, this.#settings);
    const asks = milliUnits(podRequests(pod).get('cpu') ?? 0n);
    const making = signal === undefined ? {} : { signal };
    const ofClass = qosClassOf(pod) === 'Burstable' ? asks : undefined;
    await this.#ensureClasses(pod.metadata.uid, ofClass, making);
    const limits = {
      cpuShares: shares.cpuShares ?? 2n,
      cpuPeriodUs: shares.cpuPeriod ?? 100_000n,
      cpuQuotaUs: shares.cpuQuota ?? 0n,
      memoryBytes: shares.memoryLimitInBytes ?? 0n,
      pids: this.#settings.pidsLimit,
    };
    await this.#make(cgroupPath(pod), limits, { ...making, raising: isUp });
  }

  async exists(pod: PodOfCgroup): Promise<boolean> {
    return this.#tree.exists(cgroupPath(pod));
  }

  async remove(uid: string): Promise<void> {
    await this.#timed(async () => {
      for (const path of classPaths) await this.#tree.remove(`${path}/pod${uid}`);
      return 'destroy';
    });
    if (this.#burstable.delete(uid)) await this.#shareBurstable();
  }

  async known(): Promise<readonly string[]> {
    const names = await Promise.all(classPaths.map(async (path) => this.#tree.children(path)));
    return names.flat().flatMap((name) => (name.startsWith('pod') ? [name.slice(3)] : []));
  }

  async #ensureClasses(
    uid: string,
    burstableMilli: bigint | undefined,
    options: MakingOptions,
  ): Promise<void> {
    if (!this.#madeClasses) {
      await this.#make(kubepods, undefined, options);
      await this.#make(`${kubepods}/besteffort`, this.#ofClass(0n), options);
      await this.#shareBurstable(options);
      this.#madeClasses = true;
    }
    if (burstableMilli === undefined || this.#burstable.get(uid) === burstableMilli) return;
    this.#burstable.set(uid, burstableMilli);
    await this.#shareBurstable(options);
  }

  /** One after the other, so that what is written last is the sum of all that ask. */
  async #shareBurstable(options: MakingOptions = {}): Promise<void> {
    const { signal = new AbortController().signal } = options;
    await this.#sharing.with(signal, async () => {
      const sum = [...this.#burstable.values()].reduce((all, one) => all + one, 0n);
      await this.#make(`${kubepods}/burstable`, this.#ofClass(sum), options);
    });
  }

  async #make(
    path: string,
    limits: CgroupLimits | undefined,
    options: MakingOptions,
  ): Promise<void> {
    await this.#timed(async () => this.#tree.make(path, limits, options));
  }

  async #timed(work: () => Promise<CgroupOperation | 'none'>): Promise<void> {
    const begunMs = this.#timing?.clock.monotonic() ?? 0;
    const operation = await work();
    if (this.#timing === undefined || operation === 'none') return;
    const { meter, clock } = this.#timing;
    meter.cgroupChanged(operation, (clock.monotonic() - begunMs) / 1000);
  }

  #ofClass(milli: bigint): CgroupLimits {
    const cpuPeriodUs = this.#settings.cpuCFSQuotaPeriodUs;
    const none = { cpuQuotaUs: 0n, memoryBytes: 0n, pids: 0n };
    return { cpuShares: cpuShares(milli), cpuPeriodUs, ...none };
  }
}

const classes: Readonly<Record<QosClass, string>> = {
  Guaranteed: kubepods,
  Burstable: `${kubepods}/burstable`,
  BestEffort: `${kubepods}/besteffort`,
};
const classPaths = Object.values(classes);

type CgroupNames = Pick<CgroupSettings, 'root' | 'driver'>;

/** Where a pod of this UID may have its cgroup, of whichever class it is; from the tree's own root on. */
export function podCgroupPaths(settings: CgroupNames, uid: string): readonly string[] {
  return classPaths.map((path) => groupPath(settings, `${path}/pod${uid}`));
}

/** That of all pods together. */
export function kubepodsPath(settings: CgroupNames): string {
  return groupPath(settings, kubepods);
}

/** From the tree's own root on, as the driver has it. */
function groupPath({ root, driver }: CgroupNames, path: string): string {
  return driver === 'systemd' ? systemdSlice(root, path) : root.replace(/\/+$/, '') + path;
}

/** The cgroup of a container or sandbox in that of its pod, as containerd names it. */
export function memberCgroup(
  { driver }: Pick<CgroupSettings, 'driver'>,
  podPath: string,
  id: string,
): string {
  return driver === 'systemd' ? `${podPath}/cri-containerd-${id}.scope` : `${podPath}/${id}`;
}

/** `/kubepods/burstable/podUID`: below the root. */
export function cgroupPath(pod: PodOfCgroup): string {
  return `${classes[qosClassOf(pod)]}/pod${pod.metadata.uid}`;
}
