import { mkdirSync, rmSync } from 'node:fs';
import type { PodStatus } from '../../../../src/kubelet/pod/pod-status.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { fewestFeatures } from '../../../../src/kubelet/pod/unsupported.ts';
import type { PodEvent } from '../../../../src/kubelet/ports/pod-events.ts';
import type { ProbeResult } from '../../../../src/kubelet/ports/probes.ts';
import type { MountedVolume, Volumes } from '../../../../src/kubelet/ports/volumes.ts';
import { noCgroups } from '../../../../src/kubelet/runtime/cgroups.ts';
import type { Files } from '../../../../src/kubelet/runtime/container-files.ts';
import { Images } from '../../../../src/kubelet/images/images.ts';
import { RuntimeView } from '../../../../src/kubelet/runtime/view.ts';
import { StatusWriter } from '../../../../src/kubelet/status/status-writer.ts';
import { BackOff } from '../../../../src/kubelet/back-off.ts';
import { PodWorkers, podOperations } from '../../../../src/kubelet/worker/pod-workers.ts';
import type { PodSurroundings } from '../../../../src/kubelet/worker/pod-surroundings.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { FakeRuntime } from '../../../support/fake-cri/fake-runtime.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { VirtualClock, settle } from '../../proxy/virtual-clock.ts';
import { settings } from '../runtime/settings.ts';

/** Pods' workers on a runtime in memory, with time that a test moves; the agent can be ended and begun anew. */
export class WorkerLab {
  readonly clock = new VirtualClock();
  readonly folder = ownFolder('switchyard-workers');
  readonly fake: FakeRuntime;
  readonly events: string[] = [];
  /** What was counted and timed. */
  readonly metered: string[] = [];
  /** By container's id and type. */
  readonly probes = new Map<string, ProbeResult>();
  /** Statuses as they were set, phases and container states. */
  readonly statuses: PodStatus[] = [];
  /** Volumes that cannot be mounted. */
  volumesFail = false;
  networkProblem: string | undefined;
  /** By the UID of the static pod that each stands for. */
  readonly mirrors = new Map<string, Pod>();
  tornDown: string[] = [];
  /** For each time that a cgroup was ensured: whether something of its pod was up. */
  readonly ensured: boolean[] = [];
  /** What comes of the removal of a cgroup. */
  removeCgroup = async (): Promise<void> => {};
  #agent: Agent;
  readonly #pods = new Map<string, Pod>();

  constructor() {
    this.clock.setDate(Date.UTC(2026, 0, 1));
    this.fake = new FakeRuntime({ clock: this.clock, folder: this.folder });
    this.fake.images.add({ name: 'docker.io/library/busybox:1' });
    this.#agent = this.#begin();
  }

  get workers(): PodWorkers {
    return this.#agent.workers;
  }

  get view(): RuntimeView {
    return this.#agent.view;
  }

  /** As the source tells it. */
  put(pod: Pod): void {
    const isNew = !this.#pods.has(pod.metadata.uid);
    this.#pods.set(pod.metadata.uid, pod);
    this.#agent.status.seen(pod);
    this.workers.update(pod, isNew ? 'create' : 'update');
  }

  /** The API server has another version of it; of a static pod, its mirror. */
  seen(pod: Pod): void {
    this.#agent.status.seen(pod);
  }

  /** As the API server does with a grace period. */
  delete(pod: Pod, seconds: number): void {
    const deletionTimestamp = new Date(this.clock.now()).toISOString();
    const metadata = { ...pod.metadata, deletionTimestamp, deletionGracePeriodSeconds: seconds };
    this.put({ ...pod, metadata });
  }

  remove(uid: string): void {
    this.#pods.delete(uid);
    this.workers.remove(uid);
  }

  housekeep(): void {
    this.workers.housekeep(new Set(this.#pods.keys()), this.view.pods);
  }

  status(uid = 'u1'): PodStatus {
    const pod = this.#pods.get(uid);
    return pod === undefined ? {} : this.#agent.status.current(pod);
  }

  /** How a container is, in a few words. */
  state(name = 'app', uid = 'u1'): string {
    const { containerStatuses = [], initContainerStatuses = [], ...status } = this.status(uid);
    const ephemeral = status.ephemeralContainerStatuses ?? [];
    const all = [...containerStatuses, ...initContainerStatuses, ...ephemeral];
    const found = all.find((one) => one.name === name);
    const { waiting, running, terminated } = found?.state ?? {};
    if (running !== undefined) return `running ${found?.restartCount}`;
    if (terminated !== undefined) return `${terminated.reason} ${terminated.exitCode}`;
    return `waiting ${waiting?.reason}`;
  }

  /** Source and API know nothing of it any more; nobody tells the agent. */
  forget(uid: string): void {
    this.#pods.delete(uid);
  }

  async stop(): Promise<void> {
    await this.#agent.end();
  }

  /** The agent is killed, and another one begins with nothing but what the runtime and the API have; a file has no status. */
  async restart(): Promise<void> {
    const statuses = new Map([...this.#pods.keys()].map((uid) => [uid, this.status(uid)]));
    await this.#agent.end();
    this.#agent = this.#begin();
    await this.view.relist();
    for (const [uid, pod] of this.#pods) {
      const told = isStatic(pod) ? ({ phase: 'Pending' } as const) : statuses.get(uid);
      const known = { ...pod, status: told ?? pod.status };
      this.#pods.set(uid, known);
      this.workers.update(known, 'create');
    }
    this.housekeep();
  }

  /** Waits for it without time going by. */
  async until(what: string, is: () => boolean): Promise<void> {
    const deadline = performance.now() + 10_000;
    while (!is()) {
      if (performance.now() > deadline) throw new Error(`never: ${what}; ${this.#picture()}`);
      await settle();
    }
  }

  async untilState(expected: string, name = 'app', uid = 'u1'): Promise<void> {
    await this.until(
      `${name} ${expected}, is ${this.state(name, uid)}`,
      () => this.state(name, uid) === expected,
    );
  }

  /** Moves time second by second until it is so. */
  async pass(what: string, is: () => boolean, mostSeconds = 120): Promise<number> {
    for (let seconds = 0; seconds <= mostSeconds; seconds += 1) {
      await this.#quiet(is);
      if (is()) return seconds;
      await this.clock.advance(1000);
    }
    throw new Error(`never: ${what}; ${this.#picture()}`);
  }

  async end(): Promise<void> {
    await this.#agent.end();
    this.fake.reboot();
    await settle();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Until nothing more comes of what has happened. */
  async #quiet(is: () => boolean): Promise<void> {
    let before = -1;
    for (let same = 0; same < 5 && !is();) {
      await settle();
      const now = this.fake.log.calls.length + this.events.length;
      same = now === before ? same + 1 : 0;
      before = now;
    }
  }

  #picture(): string {
    return JSON.stringify({
      status: this.status(),
      events: this.events.slice(-8),
      calls: this.fake.log.changes.slice(-8),
    });
  }

  #begin(): Agent {
    const { clock, folder, fake, events: told } = this;
    const stopped = new AbortController();
    const cri = fake.connect();
    const events = {
      tell: (_: unknown, { type, reason, message }: PodEvent): void =>
        void told.push(`${type} ${reason}: ${message}`),
    };
    const meter = this.#meter();
    const status = new StatusWriter({
      api: undefined,
      mirror: (pod) => this.mirrors.get(pod.metadata.uid),
      isListed: () => true,
      onContinued: (uid) => workers.wake(uid),
      clock,
      log: silentLog,
      random: () => 0,
    });
    const view = new RuntimeView({
      cri,
      clock,
      log: silentLog,
      owner: 'n1',
      adopt: (uid) => this.#pods.has(uid),
      changed: (uid) => workers.wake(uid),
    });
    const own = {
      ...settings,
      rootDir: `${folder}/kubelet`,
      podLogsDir: `${folder}/logs`,
      containerLogsDir: `${folder}/links`,
    };
    const around: PodSurroundings = {
      runtime: cri.runtime,
      clock,
      log: silentLog,
      events,
      userAgent: 'kube-lifecycle/1.37',
      images: new Images({
        images: cri.images,
        events,
        clock,
        maxPulls: 1,
        rate: { qps: 0, burst: 0 },
      }),
      files: filesAtOnce(own.podLogsDir),
      volumes: this.#volumes(),
      environment: { build: async () => [] },
      settings: own,
      recursiveReadOnly: false,
      view,
      status,
      probes: {
        result: (_uid, id, type) => this.probes.get(`${id} ${type}`),
        ensure: () => {},
        terminating: () => {},
        remove: () => {},
      },
      referenced: undefined,
      runtimeHandlers: { of: async () => '' },
      cgroups: {
        ...noCgroups,
        ensure: async (_, isUp) => void this.ensured.push(isUp),
        remove: async () => this.removeCgroup(),
      },
      backOff: new BackOff(clock),
      meter,
      dns: () => ({
        clusterDNS: ['10.96.0.10'],
        clusterDomain: 'cluster.local',
        node: { servers: [], searches: [], options: [] },
      }),
      hostIPs: () => ['10.0.0.1'],
      networkProblem: () => this.networkProblem,
      features: fewestFeatures,
    };
    const workers = new PodWorkers({
      restarting: (pod) => status.beginsAnew(pod),
      operations: podOperations(around),
      clock,
      log: silentLog,
      events,
      random: () => 0,
      syncFrequencyMs: 60_000,
      isStatic,
      inRuntime: () => view.pods,
      meter,
    });
    const viewing = view.run(stopped.signal);
    const end = async (): Promise<void> => {
      stopped.abort();
      const stopping = workers.stop();
      await this.clock.advance(0);
      await stopping;
      await viewing;
    };
    return { workers, view, status, end };
  }

  #meter() {
    const note =
      (what: string) =>
      (...of: readonly unknown[]): void =>
        void this.metered.push([what, ...of].join(' '));
    return {
      podRunning: note('running'),
      workerStarted: note('worker'),
      worked: () => {},
      containerStarting: note('starts'),
      containerFailed: note('failed'),
      orphaned: note('orphan'),
      restarted: note('again'),
    };
  }

  #volumes(): Volumes {
    return {
      setUp: async () => {
        if (this.volumesFail) throw new Error('no such volume');
        return new Map<string, MountedVolume>();
      },
      subPath: async () => '',
      tearDown: async (uid) => void this.tornDown.push(uid),
      known: async () => [],
    };
  }
}

function isStatic({ metadata }: Pod): boolean {
  return metadata.annotations['kubernetes.io/config.source'] === 'file';
}

/** Without waiting for a disk, so that all that happens happens at the clock's moments. Containers have no termination message here. */
function filesAtOnce(logs: string): Files {
  return {
    makePodDirs: async () => {},
    makeLogDir: async ({ metadata: { namespace, name, uid } }, container = '') =>
      void mkdirSync(`${logs}/${namespace}_${name}_${uid}/${container}`, { recursive: true }),
    attemptAfterLogs: async () => 0,
    makeTerminationMessage: async () => {
      throw new Error('containers of this lab have none');
    },
    writeHosts: async () => '/etc/hosts',
    linkLog: async () => {},
  };
}

interface Agent {
  readonly workers: PodWorkers;
  readonly view: RuntimeView;
  readonly status: StatusWriter;
  readonly end: () => Promise<void>;
}
