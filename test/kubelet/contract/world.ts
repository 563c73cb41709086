import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerStatus, PodStatus } from '../../../src/kubelet/pod/pod.ts';
import { labels } from '../../../src/kubelet/runtime/labels.ts';
import type { Cri } from '../../../src/kubelet/cri/client.ts';
import { ContainerState } from '../../../src/kubelet/cri/gen/api_pb.ts';
import { until } from '../node-machine.ts';
import type { NodeMachine } from '../node-machine.ts';
import type { KubeletCluster } from '../kubelet-cluster.ts';
import type { KubeletProcess, KubeletSetting } from '../kubelet-process.ts';
import { TaskStarts } from './task-starts.ts';

/** A Pod object as the API server gives it. */
export interface ApiPod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
    readonly generation?: number;
  };
  readonly status: PodStatus;
}

export interface ApiEvent {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly involvedObject: { readonly uid: string; readonly fieldPath?: string };
}

/** What runs a world's containers, and where its kubelet runs. */
export interface WorldRuntime {
  readonly kind: 'containerd' | 'memory';
  readonly node: NodeMachine;
  connect(): Cri;
  stop(): Promise<void>;
}

/** A node with one kubelet, of a cluster: what a scenario of the contract acts on, whatever runs the containers. */
export class World {
  readonly runtime: WorldRuntime;
  readonly cluster: KubeletCluster;
  readonly cri: Cri;
  readonly starts: TaskStarts;
  readonly #setting: KubeletSetting;
  kubelet: KubeletProcess;
  #last = 0;
  #mayEnd = false;

  constructor(runtime: WorldRuntime, cluster: KubeletCluster, setting: KubeletSetting = {}) {
    this.runtime = runtime;
    this.cluster = cluster;
    this.cri = runtime.connect();
    this.starts = new TaskStarts(this.cri);
    this.#setting = setting;
    this.kubelet = cluster.kubelet(runtime.node, setting);
  }

  get node(): string {
    return this.runtime.node.name;
  }

  async start(): Promise<void> {
    this.starts.follow();
    this.kubelet.start();
    await this.until('the node is Ready', async () => {
      const node = await this.cluster.get<{ status: PodStatus }>(`/api/v1/nodes/${this.node}`);
      const ready = node?.status.conditions?.find(({ type }) => type === 'Ready');
      return ready?.status === 'True';
    });
    await this.until('the default account is there', async () =>
      this.cluster
        .get('/api/v1/namespaces/default/serviceaccounts/default')
        .then((account) => account !== undefined),
    );
  }

  async stop(): Promise<void> {
    this.starts.leave();
    await this.kubelet.kill();
    await this.runtime.stop();
  }

  /** The kubelet again, after it was ended. */
  restartKubelet(): void {
    this.kubelet = this.cluster.kubelet(this.runtime.node, this.#setting);
    this.kubelet.start();
  }

  /** A name that no other pod of this world has. */
  name(of: string): string {
    return `${of}-${this.runtime.kind}-${++this.#last}`;
  }

  /** Makes a pod on this node; without a scheduler. */
  async create(name: string, spec: object, metadata: object = {}): Promise<ApiPod> {
    const object = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, ...metadata },
      spec: { nodeName: this.node, terminationGracePeriodSeconds: 2, ...spec },
    };
    return (await this.cluster.control.must('POST', pods, object)) as ApiPod;
  }

  async pod(name: string): Promise<ApiPod | undefined> {
    return this.cluster.get<ApiPod>(`${pods}/${name}`);
  }

  /** Waits until the pod is there and has such a status; answers it. */
  async waitFor(
    name: string,
    what: string,
    holds: (status: PodStatus) => boolean,
    seconds = 60,
  ): Promise<PodStatus> {
    let found: PodStatus | undefined;
    await this.until(
      `pod ${name}: ${what}`,
      async () => {
        found = (await this.pod(name))?.status;
        return found !== undefined && holds(found);
      },
      seconds,
      async () => ({ status: found, events: (await this.events(name)).map(eventText) }),
    );
    return found ?? {};
  }

  async running(name: string): Promise<PodStatus> {
    return this.waitFor(name, 'all containers are ready', isReady);
  }

  async phase(name: string, phase: PodStatus['phase']): Promise<PodStatus> {
    return this.waitFor(name, `phase ${phase}`, (status) => status.phase === phase);
  }

  async events(name: string): Promise<readonly ApiEvent[]> {
    const path = `/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D${name}`;
    return (await this.cluster.get<{ items: ApiEvent[] }>(path))?.items ?? [];
  }

  async waitForEvent(name: string, reason: string, text: RegExp | string = ''): Promise<ApiEvent> {
    let found: ApiEvent | undefined;
    await this.until(
      `pod ${name}: event ${reason} ${text}`,
      async () => {
        const events = await this.events(name);
        found = events.find((each) => each.reason === reason && fits(each.message, text));
        return found !== undefined;
      },
      60,
      async () => (await this.events(name)).map(eventText),
    );
    return found as ApiEvent;
  }

  /** Deletes it as kubectl does, with its own grace or another. */
  async delete(name: string, graceSeconds?: number): Promise<void> {
    const query = graceSeconds === undefined ? '' : `?gracePeriodSeconds=${graceSeconds}`;
    await this.cluster.control.must('DELETE', `${pods}/${name}${query}`);
  }

  async gone(name: string): Promise<void> {
    await this.until(
      `pod ${name} is gone`,
      async () => (await this.pod(name)) === undefined,
      60,
      async () => this.pod(name),
    );
  }

  /** Deletes and waits: no scenario leaves pods to the next. */
  async remove(name: string): Promise<void> {
    if ((await this.pod(name)) === undefined) return;
    await this.delete(name);
    await this.gone(name);
  }

  /** Runs a command in a container that runs. */
  async exec(name: string, container: string, ...cmd: readonly string[]): Promise<string> {
    const { uid } = (await this.pod(name))?.metadata ?? { uid: '' };
    const labelSelector = { [labels.podUid]: uid, [labels.containerName]: container };
    const filter = { labelSelector, state: { state: ContainerState.CONTAINER_RUNNING } };
    const { containers } = await this.cri.runtime.listContainers({ filter });
    const [found] = containers;
    if (!found) throw new Error(`pod ${name} has no running container ${container}`);
    const answer = await this.cri.runtime.execSync({
      containerId: found.id,
      cmd: [...cmd],
      timeout: 20n,
    });
    const text = new TextDecoder();
    if (answer.exitCode !== 0) {
      throw new Error(`${cmd.join(' ')}: ${answer.exitCode} ${text.decode(answer.stderr)}`);
    }
    return text.decode(answer.stdout);
  }

  /** Containers of a pod that the runtime has, in whatever state. */
  async containers(uid: string): Promise<readonly { name: string; state: number; id: string }[]> {
    const labelSelector = { [labels.podUid]: uid };
    const { containers } = await this.cri.runtime.listContainers({ filter: { labelSelector } });
    return containers.map(({ id, state, metadata }) => ({ id, state, name: metadata?.name ?? '' }));
  }

  /** Sandboxes of a pod that the runtime has; ready or not. */
  async sandboxes(uid: string): Promise<readonly { ready: boolean; attempt: number }[]> {
    const labelSelector = { [labels.podUid]: uid };
    const { items } = await this.cri.runtime.listPodSandbox({ filter: { labelSelector } });
    return items.map(({ state, metadata }) => ({
      ready: state === 0,
      attempt: metadata?.attempt ?? 0,
    }));
  }

  /** UIDs of the pods that have a folder on the node's disk. */
  podFolders(): readonly string[] {
    return readdirSync(join(this.runtime.node.folder, 'kubelet/pods'));
  }

  /** Waits for a condition; a failure tells what the kubelet said last. */
  async until(
    what: string,
    condition: () => boolean | Promise<boolean>,
    seconds = 60,
    more: () => unknown = () => '',
  ): Promise<void> {
    try {
      await until(
        what,
        async () => {
          const { ended } = this.kubelet;
          if (ended !== undefined && !this.#mayEnd)
            throw new Error(`the kubelet ${ended.slice(-3000)}`);
          return condition();
        },
        seconds,
      );
    } catch (thrown) {
      const state = JSON.stringify(await more(), undefined, 1);
      const message = `${this.runtime.kind}: ${String(thrown)}\n${state}\n${this.kubelet.log.slice(-3000)}`;
      throw new Error(message, { cause: thrown });
    }
  }

  /** While the kubelet is away on purpose. */
  async withoutKubelet<T>(work: () => Promise<T>): Promise<T> {
    this.#mayEnd = true;
    try {
      return await work();
    } finally {
      this.#mayEnd = false;
    }
  }
}

const pods = '/api/v1/namespaces/default/pods';

export function isReady({ conditions }: PodStatus): boolean {
  return conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
}

/** A container's status, of whatever kind it is. */
export function statusOf(status: PodStatus, name: string): ContainerStatus | undefined {
  const all = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
  return all.find((each) => each.name === name);
}

export function conditionOf(status: PodStatus, type: string) {
  return status.conditions?.find((each) => each.type === type);
}

/** A container of busybox that runs this script. */
export function box(name: string, script: string, more: object = {}): object {
  return {
    name,
    image: 'docker.io/local/busybox:1',
    command: ['sh', '-c', script],
    ...more,
  };
}

/** Waits, and ends with the signal. */
export const forever = 'trap "exit 0" TERM; while true; do sleep 0.1; done';

function eventText({ type, reason, message }: ApiEvent): string {
  return `${type} ${reason}: ${message}`;
}

function fits(message: string, text: RegExp | string): boolean {
  return typeof text === 'string' ? message.includes(text) : text.test(message);
}
