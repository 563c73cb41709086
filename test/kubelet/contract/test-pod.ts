import { labels } from '../../../src/kubelet/runtime/labels.ts';
import { ContainerState, PodSandboxState } from '../../../src/kubelet/cri/gen/api_pb.ts';
import type { ContainerStatus, PodStatus } from '../../../src/kubelet/pod/pod-status.ts';
import type { World } from './world.ts';

/** A Pod object as the API server gives it. */
export interface ApiPod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly status: PodStatus;
}

interface ApiEvent {
  /** How often it was told. */
  readonly count: number;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
}

const pods = '/api/v1/namespaces/default/pods';

/** A pod of a scenario: what is done to it, and what is seen of it at the API server and in the runtime. */
export class TestPod {
  readonly name: string;
  /** By which the runtime knows it. */
  readonly uid: string;
  readonly #world: World;

  constructor(world: World, { name, uid }: { readonly name: string; readonly uid: string }) {
    this.#world = world;
    this.name = name;
    this.uid = uid;
  }

  get path(): string {
    return `${pods}/${this.name}`;
  }

  async read(): Promise<ApiPod | undefined> {
    return this.#world.cluster.get<ApiPod>(this.path);
  }

  async status(): Promise<PodStatus> {
    return (await this.read())?.status ?? {};
  }

  /** Waits until it has such a status; answers it. */
  async waitFor(
    what: string,
    holds: (status: PodStatus) => boolean,
    seconds = 60,
  ): Promise<PodStatus> {
    let found: PodStatus | undefined;
    await this.until(
      what,
      async () => {
        found = (await this.read())?.status;
        return found !== undefined && holds(found);
      },
      seconds,
    );
    return found ?? {};
  }

  /** Waits; a failure tells how the pod is. */
  async until(what: string, condition: () => Promise<boolean>, seconds = 60): Promise<void> {
    await this.#world.until(`pod ${this.name}: ${what}`, condition, seconds, async () => ({
      status: await this.status(),
      events: (await this.events()).map(eventText),
    }));
  }

  async running(): Promise<PodStatus> {
    return this.waitFor('all containers are ready', isReady);
  }

  async phase(phase: PodStatus['phase']): Promise<PodStatus> {
    return this.waitFor(`phase ${phase}`, (status) => status.phase === phase);
  }

  /** Waits until a container waits with this reason. */
  async waiting(reason: string, container = 'main'): Promise<PodStatus> {
    return this.waitFor(
      `${container} waits with ${reason}`,
      (status) => statusOf(status, container)?.state.waiting?.reason === reason,
    );
  }

  /** Waits until it was restarted so often at least. */
  async restarted(count: number, container = 'main'): Promise<PodStatus> {
    return this.waitFor(
      `${container} was restarted ${count} times`,
      (status) => (statusOf(status, container)?.restartCount ?? 0) >= count,
    );
  }

  async events(): Promise<readonly ApiEvent[]> {
    const path = `/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D${this.name}`;
    return (await this.#world.cluster.get<{ items: ApiEvent[] }>(path))?.items ?? [];
  }

  /** How often Events of this reason were told. */
  async told(reason: string): Promise<number> {
    const events = (await this.events()).filter((each) => each.reason === reason);
    return events.reduce((sum, { count }) => sum + count, 0);
  }

  /** Waits for an Event about it. */
  async event(reason: string, text: RegExp | string = ''): Promise<void> {
    await this.until(`event ${reason} ${text}`, async () => {
      const events = await this.events();
      return events.some((each) => each.reason === reason && fits(each.message, text));
    });
  }

  /** Deletes it as kubectl does, with its own grace or another. */
  async delete(graceSeconds?: number): Promise<void> {
    const query = graceSeconds === undefined ? '' : `?gracePeriodSeconds=${graceSeconds}`;
    await this.#world.cluster.control.must('DELETE', `${this.path}${query}`);
  }

  async gone(): Promise<void> {
    await this.until('it is gone', async () => (await this.read())?.metadata.uid !== this.uid);
  }

  /** Deletes it where it is still there, and waits until it is gone. */
  async remove(): Promise<void> {
    const found = await this.read();
    if (found?.metadata.uid !== this.uid) return;
    if (found.metadata.deletionTimestamp === undefined) await this.delete();
    await this.gone();
  }

  /** Changes its object as `kubectl patch` does. */
  async patch(change: object, subresource = ''): Promise<void> {
    const type = 'application/strategic-merge-patch+json';
    await this.#world.cluster.control.must('PATCH', `${this.path}${subresource}`, change, type);
  }

  /** Runs a command in a container that runs; what it wrote. */
  async exec(container: string, ...cmd: readonly string[]): Promise<string> {
    const found = (await this.containers(container)).find(isRunning);
    if (!found) throw new Error(`pod ${this.name} has no running container ${container}`);
    const answer = await this.#world.cri.runtime.execSync({
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

  /** Its containers in the runtime, or those of a name, in whatever state. */
  async containers(name?: string): Promise<readonly TestContainer[]> {
    const named = name === undefined ? {} : { [labels.containerName]: name };
    const labelSelector = { [labels.podUid]: this.uid, ...named };
    const { runtime } = this.#world.cri;
    const { containers } = await runtime.listContainers({ filter: { labelSelector } });
    return containers.map(({ id, state, metadata, ...rest }) => ({
      id,
      state,
      name: metadata?.name ?? '',
      labels: rest.labels,
      annotations: rest.annotations,
    }));
  }

  /** Whether anything of it runs. */
  async isRunning(): Promise<boolean> {
    return (await this.containers()).some(isRunning);
  }

  /** By instance of a container, how often the runtime started it. */
  async starts(name: string): Promise<readonly number[]> {
    const found = await this.containers(name);
    return found.map(({ id }) => this.#world.tasks.starts(id));
  }

  /** Its sandboxes in the runtime; ready or not. */
  async sandboxes(): Promise<readonly TestSandbox[]> {
    const labelSelector = { [labels.podUid]: this.uid };
    const { runtime } = this.#world.cri;
    const { items } = await runtime.listPodSandbox({ filter: { labelSelector } });
    return items.map(({ id, state, metadata, ...rest }) => ({
      id,
      ready: state === PodSandboxState.SANDBOX_READY,
      attempt: metadata?.attempt ?? 0,
      labels: rest.labels,
    }));
  }
}

type Texts = Readonly<Record<string, string>>;

interface TestContainer {
  readonly id: string;
  readonly name: string;
  readonly state: ContainerState;
  readonly labels: Texts;
  readonly annotations: Texts;
}

interface TestSandbox {
  readonly id: string;
  readonly ready: boolean;
  readonly attempt: number;
  readonly labels: Texts;
}

function isRunning({ state }: TestContainer): boolean {
  return state === ContainerState.CONTAINER_RUNNING;
}

export function isReady({ conditions }: PodStatus): boolean {
  return conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') === true;
}

/** A container's status, of whatever kind it is. */
export function statusOf(status: PodStatus, name: string): ContainerStatus | undefined {
  const { initContainerStatuses: init = [], containerStatuses: regular = [] } = status;
  const all = [...init, ...regular, ...(status.ephemeralContainerStatuses ?? [])];
  return all.find((each) => each.name === name);
}

export function conditionOf(status: PodStatus, type: string) {
  return status.conditions?.find((each) => each.type === type);
}

function eventText({ type, reason, message }: ApiEvent): string {
  return `${type} ${reason}: ${message}`;
}

function fits(message: string, text: RegExp | string): boolean {
  return typeof text === 'string' ? message.includes(text) : text.test(message);
}
