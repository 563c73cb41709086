import process from 'node:process';
import { pause } from './bench.ts';
import type { BenchNodes } from './nodes.ts';
import {
  askedServices,
  changeableService,
  changeableSlice,
  changedSlice,
  slicePath,
} from './objects.ts';
import { Poller } from './poller.ts';

/** A change that nobody sees for so long is not seen at all. */
const seenMs = 120_000;

type Pod = 'pod-a' | 'pod-b';

/** What a change is of: a service of the scale with the slice of it, or a slice and what it shall hold. */
type ChangeTarget =
  | { readonly service: number; readonly part?: number }
  | { readonly path: string; readonly endpoints: readonly object[] };

/** Writes changes at a steady rate, so that every service gets one in its turn; `stop` says how many. */
export class SteadyChanges {
  readonly #stop = new AbortController();
  readonly #done: Promise<number>;

  /** `target` names what the n-th change is of. */
  constructor(nodes: BenchNodes, perSecond: number, target: (change: number) => ChangeTarget) {
    this.#done = this.#run(nodes, perSecond, target);
    this.#done.catch(() => {}); // `stop` tells
  }

  async stop(): Promise<number> {
    this.#stop.abort();
    return this.#done;
  }

  async #run(
    nodes: BenchNodes,
    perSecond: number,
    target: (change: number) => ChangeTarget,
  ): Promise<number> {
    const before = await currentVersion(nodes);
    const began = Date.now();
    const writes: Promise<number>[] = [];
    for (let n = 0; ; n++) {
      const wait = began + (n * 1000) / perSecond - Date.now();
      await pause(Math.max(0, wait), this.#stop.signal).catch(() => {});
      if (this.#stop.signal.aborted) break;
      const { path, endpoints } = changeOf(nodes, target(n));
      writes.push(patch(nodes, path, endpoints));
    }
    const versions = await Promise.all(writes);
    if (versions.some((each) => each <= before)) {
      throw new Error('a change said what the object held already, so no proxy saw it');
    }
    return writes.length;
  }
}

function changeOf(
  nodes: BenchNodes,
  target: ChangeTarget,
): { readonly path: string; readonly endpoints: readonly object[] } {
  if ('path' in target) return target;
  const { service, part } = target;
  const { endpoints } = changedSlice(nodes.scale, service, nodes.nextGeneration(), part);
  return { path: slicePath(service, part), endpoints };
}

/** Services that nobody asks, in an order that jumps about: the pods of those that somebody asks go on answering. */
export function everyService(nodes: BenchNodes): (change: number) => { readonly service: number } {
  const { scale } = nodes;
  const asked = new Set(
    [changeableService(scale), ...askedServices(scale)].map(({ index }) => index),
  );
  const others = Array.from({ length: scale.services }, (_, index) => index).filter(
    (index) => !asked.has(index),
  );
  const stride = 7919; // a prime: it visits all of them
  return (change) => ({ service: others[(change * stride) % others.length] ?? 0 });
}

/** A service with one pod that a client asks all the time, and whose pod can be replaced. */
export class ChangeableService {
  readonly #nodes: BenchNodes;
  readonly #poller: Poller;
  readonly #signal: AbortSignal;
  #pod: Pod = 'pod-a';

  /** `everyMs` bounds how exactly a change is timed; requests fail after `timeoutMs`. */
  constructor(
    nodes: BenchNodes,
    client: string,
    signal: AbortSignal,
    { everyMs = 5, timeoutMs = 900, others = [] as readonly string[] } = {},
  ) {
    this.#nodes = nodes;
    this.#signal = signal;
    const { clusterIP } = changeableService(nodes.scale);
    this.#poller = new Poller(client, [clusterIP, ...others], { everyMs, timeoutMs });
  }

  /** Begins from a known state: one pod is written, and answers. */
  async settle(): Promise<void> {
    await this.change();
  }

  /** Seconds from the request that replaces the pod until a client is answered by the new one. */
  async change(): Promise<number> {
    const sentNs = await this.write();
    return (await this.#seen(sentNs)) - sentNs / 1e9;
  }

  /** Replaces the pod; answers when (ns). */
  async write(): Promise<number> {
    this.#pod = this.#pod === 'pod-a' ? 'pod-b' : 'pod-a';
    const { index } = changeableService(this.#nodes.scale);
    const sentNs = Number(process.hrtime.bigint());
    const slice = changeableSlice(this.#nodes.scale, this.#pod);
    await patch(this.#nodes, slicePath(index), slice.endpoints);
    return sentNs;
  }

  /** Seconds from a moment (ns) until a client is answered by the pod that was written last. */
  async seenAfter(sinceNs: number): Promise<number> {
    return (await this.#seen(sinceNs)) - sinceNs / 1e9;
  }

  /** Ends the client; all its requests. */
  async stop(): Promise<Awaited<ReturnType<Poller['stop']>>> {
    return this.#poller.stop();
  }

  async #seen(sinceNs: number): Promise<number> {
    const { clusterIP } = changeableService(this.#nodes.scale);
    const limit = AbortSignal.timeout(seenMs);
    try {
      const { answeredNs } = await this.#poller.first(
        ({ address, said, askedNs }) =>
          address === clusterIP && said === this.#pod && askedNs >= sinceNs,
        AbortSignal.any([this.#signal, limit]),
      );
      return answeredNs / 1e9;
    } catch (error) {
      if (this.#signal.aborted || !limit.aborted) throw error;
      throw new Error(`no client saw a change within ${seenMs / 1000} s`, { cause: error });
    }
  }
}

/** Replaces a slice's endpoints; answers the object's version then. */
async function patch(
  nodes: BenchNodes,
  path: string,
  endpoints: readonly object[],
): Promise<number> {
  const type = 'application/merge-patch+json';
  return version(await nodes.twins.plane.must('PATCH', path, { endpoints }, type));
}

async function currentVersion(nodes: BenchNodes): Promise<number> {
  const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?limit=1';
  return version(await nodes.twins.plane.must('GET', slices));
}

/** Versions are etcd's revisions here: they grow with every write to any object. */
function version(object: unknown): number {
  const { metadata } = object as { readonly metadata: { readonly resourceVersion: string } };
  return Number(metadata.resourceVersion);
}
