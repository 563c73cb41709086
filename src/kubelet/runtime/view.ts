import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { ListReason } from '../../telemetry/runtime-event-metrics.ts';
import type { Cri } from '../cri/client.ts';
import { isNotFound } from '../cri/cri-error.ts';
import type { PodMeter } from '../ports/pod-meter.ts';
import type {
  Container,
  ContainerStatus,
  PodSandbox,
  PodSandboxStatus,
} from '../cri/gen/api_pb.ts';
import { ContainerState } from '../cri/gen/api_pb.ts';
import { labels } from './labels.ts';
import { ListRhythm } from './list-rhythm.ts';
import {
  groupPods,
  isOwn,
  podFingerprint,
  runtimeContainer,
  runtimeSandbox,
  unclaimedUp,
} from './lists-to-pods.ts';
import { followRuntime } from './runtime-events.ts';
import type { StreamMeter } from './runtime-events.ts';
import { isUp } from './runtime-pod.ts';
import type { RuntimePod } from './runtime-pod.ts';

export interface RuntimeViewOptions {
  readonly cri: Cri;
  readonly clock: Clock;
  readonly log: Log;
  /** The node's name: the ownership label's value. */
  readonly owner: string;
  /** Whether a source has this UID: what an upstream kubelet left of it is then ours. */
  adopt(uid: string): boolean;
  /** A pod's sandboxes or containers are others than before, or in other states. Neither waits nor throws. */
  changed(uid: string): void;
  /** How often is listed where no stream of events tells, and where one does. */
  readonly relistMs?: number;
  readonly seldomMs?: number;
  readonly meter?: Pick<PodMeter, 'listed'>;
  readonly eventMeter?: StreamMeter & { listed(reason: ListReason): void };
}

interface Read {
  readonly pods: ReadonlyMap<string, RuntimePod>;
  /** UIDs of what nobody's label is on, and which is up. */
  readonly unclaimed: ReadonlySet<string>;
}

/** How many details are asked for at a time. */
const atOnce = 16;
/** CRI learns of an exit by the same events; how long it is waited for, and how often it is asked meanwhile. */
const settleTries = 5;
const settleMs = 10;

/**
 * What the runtime has of the pods of this node: lists when its events say so, at once where a container ended; each second where it
 * has none. The last list is kept, and what cannot change.
 */
export class RuntimeView {
  readonly #options: RuntimeViewOptions;
  readonly #rhythm: ListRhythm;
  readonly #sandboxDetails = new Map<string, { state: number; detail: PodSandboxStatus }>();
  readonly #containerDetails = new Map<string, { state: number; detail: ContainerStatus }>();
  #pods: ReadonlyMap<string, RuntimePod> = new Map();
  #unclaimed: ReadonlySet<string> = new Set();
  #listing: Promise<unknown> = Promise.resolve();
  /** Waits for `#listing`, and will be the next. */
  #queued: Promise<ReadonlyMap<string, RuntimePod>> | undefined;
  #relistedAtMs: number | undefined;
  #failing = false;

  constructor(options: RuntimeViewOptions) {
    const { clock, relistMs: oftenMs = 1000, seldomMs = 60_000 } = options;
    this.#options = options;
    this.#rhythm = new ListRhythm({ clock, oftenMs, seldomMs });
  }

  /** By UID, as of the last list. */
  get pods(): ReadonlyMap<string, RuntimePod> {
    return this.#pods;
  }

  /** Whether the last list had something of such a pod that is up: also what an upstream kubelet left of one that no source had then. */
  isUp(uid: string): boolean {
    return isUp(this.#pods.get(uid)) || this.#unclaimed.has(uid);
  }

  /** When the last good list was begun, by the monotonic clock; undefined: there was none. */
  get relistedAtMs(): number | undefined {
    return this.#relistedAtMs;
  }

  /** Lists by the events of the runtime, until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { cri, clock, log, eventMeter } = this.#options;
    const rhythm = this.#rhythm;
    const events = followRuntime(
      {
        cri,
        clock,
        log,
        meter: eventMeter,
        listening: (isThere) => rhythm.listening(isThere),
        changed: () => rhythm.happened(),
        exited: (id) => {
          rhythm.happened();
          void this.#settle(id, signal);
        },
        killedForMemory: (id) => {
          this.#containerDetails.delete(id);
          rhythm.happened();
        },
      },
      signal,
    );
    let reason: ListReason = 'gap';
    while (!signal.aborted) {
      rhythm.begin();
      await this.#relistQuietly(reason, signal);
      reason = await rhythm.due(this.#failing, signal);
    }
    await events;
  }

  /** All pods, listed after this was called; tells of what changed since the list before. Those who ask while one waits share it. */
  async relist(): Promise<ReadonlyMap<string, RuntimePod>> {
    return this.#relist('asked');
  }

  /** One pod, read after this was called; undefined: the runtime has nothing of it. */
  async pod(uid: string, signal?: AbortSignal): Promise<RuntimePod | undefined> {
    return (await this.#read({ [labels.podUid]: uid }, signal)).pods.get(uid);
  }

  /**
   * One pod of the last list, if that was begun after `sinceMs` (of the monotonic clock) and events would have told of anything later; else read
   * after this was called, as it is without `sinceMs`. A list of before may have left out what nobody had spoken for yet.
   */
  async latest(
    uid: string,
    sinceMs: number | undefined,
    signal?: AbortSignal,
  ): Promise<RuntimePod | undefined> {
    const listedMs = this.#relistedAtMs ?? Number.NEGATIVE_INFINITY;
    const isLater = listedMs > (sinceMs ?? Number.POSITIVE_INFINITY);
    const isGood = isLater && !this.#failing && this.#rhythm.isCurrent(listedMs);
    return isGood ? this.#pods.get(uid) : this.pod(uid, signal);
  }

  async #relist(reason: ListReason): Promise<ReadonlyMap<string, RuntimePod>> {
    if (this.#queued === undefined) {
      this.#options.eventMeter?.listed(reason);
      this.#queued = this.#relistNext(this.#listing);
    }
    return this.#queued;
  }

  async #relistNext(before: Promise<unknown>): Promise<ReadonlyMap<string, RuntimePod>> {
    await before;
    this.#queued = undefined;
    const listing = this.#relistNow();
    this.#listing = listing.catch(() => {});
    return listing;
  }

  async #relistNow(): Promise<ReadonlyMap<string, RuntimePod>> {
    const begunMs = this.#options.clock.monotonic();
    const { pods: now, unclaimed } = await this.#read({});
    this.#meter(begunMs);
    const before = this.#pods;
    this.#pods = now;
    this.#unclaimed = unclaimed;
    this.#relistedAtMs = begunMs;
    this.#forget(now);
    for (const uid of new Set([...before.keys(), ...now.keys()])) {
      if (printOf(before.get(uid)) !== printOf(now.get(uid))) this.#options.changed(uid);
    }
    return now;
  }

  #meter(begunMs: number): void {
    const { clock, meter } = this.#options;
    const lastMs = this.#relistedAtMs;
    const sinceLast = lastMs === undefined ? undefined : (begunMs - lastMs) / 1000;
    meter?.listed((clock.monotonic() - begunMs) / 1000, sinceLast);
  }

  async #relistQuietly(reason: ListReason, signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    try {
      await this.#relist(reason);
      if (this.#failing) log.info({}, 'the container runtime answers again');
      this.#failing = false;
    } catch (thrown) {
      if (signal.aborted || this.#failing) return;
      this.#failing = true;
      log.error({ error: errorText(thrown) }, 'the pods of the container runtime cannot be listed');
    }
  }

  /** Lists until CRI, too, knows of the end of a container or sandbox. */
  async #settle(ended: string, signal: AbortSignal): Promise<void> {
    for (let tried = 0; tried < settleTries && !signal.aborted; tried++) {
      await this.#relistQuietly('event', signal);
      const all = [...this.#pods.values()].flatMap((pod) => [...pod.sandboxes, ...pod.containers]);
      const found = all.find(({ id }) => id === ended);
      if (found?.state !== 'running' && found?.state !== 'ready') return;
      await this.#options.clock.sleep(settleMs * 2 ** tried, signal);
    }
  }

  async #read(labelSelector: Record<string, string>, signal?: AbortSignal): Promise<Read> {
    const { cri, owner } = this.#options;
    const call = signal ? { signal } : {};
    const filter = { labelSelector };
    const adopt = (uid: string): boolean => this.#options.adopt(uid);
    // Containers first: one whose sandbox is made meanwhile would have none.
    const { containers } = await cri.runtime.listContainers({ filter }, call);
    const { items } = await cri.runtime.listPodSandbox({ filter }, call);
    const ownContainers = containers.filter((container) => isOwn(container, owner, adopt));
    const ownSandboxes = items.filter((sandbox) => isOwn(sandbox, owner, adopt));
    const [sandboxDetails, containerDetails] = await Promise.all([
      few(ownSandboxes, async (sandbox) => this.#sandboxDetail(sandbox, signal)),
      few(ownContainers, async (container) => this.#containerDetail(container, signal)),
    ]);
    const pods = groupPods(
      pairs(ownSandboxes, sandboxDetails).map(([listed, detail]) => runtimeSandbox(listed, detail)),
      pairs(ownContainers, containerDetails).map(([listed, detail]) =>
        runtimeContainer(listed, detail),
      ),
    );
    return { pods, unclaimed: unclaimedUp(items, containers) };
  }

  async #sandboxDetail(
    { id, state }: PodSandbox,
    signal?: AbortSignal,
  ): Promise<PodSandboxStatus | undefined> {
    const known = this.#sandboxDetails.get(id);
    if (known?.state === state) return known.detail;
    const { status } = await absentIfGone(
      this.#options.cri.runtime.podSandboxStatus({ podSandboxId: id }, signal ? { signal } : {}),
    );
    if (status) this.#sandboxDetails.set(id, { state: status.state, detail: status });
    return status;
  }

  async #containerDetail(
    { id, state }: Container,
    signal?: AbortSignal,
  ): Promise<ContainerStatus | undefined> {
    const known = this.#containerDetails.get(id);
    if (known?.state === state) return known.detail;
    const { status } = await absentIfGone(
      this.#options.cri.runtime.containerStatus({ containerId: id }, signal ? { signal } : {}),
    );
    if (status && status.state !== ContainerState.CONTAINER_UNKNOWN) {
      this.#containerDetails.set(id, { state: status.state, detail: status });
    }
    return status;
  }

  /** Details of what is gone. */
  #forget(pods: ReadonlyMap<string, RuntimePod>): void {
    const all = [...pods.values()];
    const sandboxes = new Set(all.flatMap((pod) => pod.sandboxes.map(({ id }) => id)));
    const containers = new Set(all.flatMap((pod) => pod.containers.map(({ id }) => id)));
    for (const id of this.#sandboxDetails.keys()) {
      if (!sandboxes.has(id)) this.#sandboxDetails.delete(id);
    }
    for (const id of this.#containerDetails.keys()) {
      if (!containers.has(id)) this.#containerDetails.delete(id);
    }
  }
}

function printOf(pod: RuntimePod | undefined): string {
  return pod === undefined ? '' : podFingerprint(pod);
}

async function absentIfGone<T>(
  answer: Promise<{ readonly status?: T }>,
): Promise<{ readonly status?: T | undefined }> {
  try {
    return await answer;
  } catch (thrown) {
    if (isNotFound(thrown)) return { status: undefined };
    throw thrown;
  }
}

/** Not more than {@link atOnce} at a time; the results in the order of the items. */
async function few<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += atOnce) {
    results.push(
      ...(await Promise.all(items.slice(at, at + atOnce).map(async (item) => work(item)))),
    );
  }
  return results;
}

/** Leaves out what has none. */
function pairs<A, B>(items: readonly A[], of: readonly (B | undefined)[]): readonly [A, B][] {
  return items.flatMap((item, at): [A, B][] => {
    const detail = of[at];
    return detail === undefined ? [] : [[item, detail]];
  });
}
