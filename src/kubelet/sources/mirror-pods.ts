import { errorText } from '../../error.ts';
import type { Log } from '../../telemetry/log.ts';
import type { ObjectApi } from '../api/object-api.ts';
import { podText } from '../pod/pod.ts';
import type { Pod } from '../pod/pod.ts';
import { annotation } from './sourced-pod.ts';

/** The node that a mirror pod belongs to: it goes with it. */
export interface MirrorOwner {
  readonly name: string;
  readonly uid: string;
}

export interface MirrorPodsOptions {
  /** Of pods. */
  readonly api: Pick<ObjectApi, 'send'>;
  /** undefined: not registered yet; without it there are no mirror pods. */
  readonly owner: () => MirrorOwner | undefined;
  /** Whether the mirror of this static pod tells of an end that the pod has left behind: it says so for good, and is replaced. */
  readonly isOver: (staticPod: Pod) => boolean;
  readonly log: Log;
}

/** What stands for a static pod at the API server (Kubernetes: Create static Pods); the API server gives it a UID of its own. */
export function mirrorOf({ metadata, spec }: Pod, owner: MirrorOwner): object {
  const { name, namespace, labels, annotations } = metadata;
  const hash = annotations[annotation.hash] ?? '';
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace,
      labels,
      annotations: { ...annotations, [annotation.mirror]: hash },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', ...owner, controller: true }],
    },
    spec,
  };
}

/** Whether a mirror pod stands for this very version of a static pod, and stays. */
export function isMirrorOf(mirror: Pod, staticPod: Pod): boolean {
  const hash = mirror.metadata.annotations[annotation.mirror];
  return (
    mirror.metadata.deletionTimestamp === undefined &&
    hash === staticPod.metadata.annotations[annotation.hash]
  );
}

/** Makes and removes mirror pods. What fails is logged once and left for the next time: the static pod runs anyway. */
export class MirrorPods {
  readonly #options: MirrorPodsOptions;
  /** Names that are being seen to. */
  readonly #busy = new Set<string>();
  /** What failed last, by name. */
  readonly #failures = new Map<string, string>();

  constructor(options: MirrorPodsOptions) {
    this.#options = options;
  }

  /** Sees to it that a static pod has its mirror. */
  async ensure(staticPod: Pod, mirror: Pod | undefined, signal: AbortSignal): Promise<void> {
    const owner = this.#options.owner();
    if (owner === undefined || (mirror !== undefined && this.#stays(mirror, staticPod))) return;
    await this.#alone(staticPod, async () => {
      if (mirror !== undefined) await this.#delete(mirror, signal);
      await this.#create(staticPod, owner, signal);
    });
  }

  /** Removes one for which there is no static pod. */
  async remove(mirror: Pod, signal: AbortSignal): Promise<void> {
    await this.#alone(mirror, async () => this.#delete(mirror, signal));
  }

  #stays(mirror: Pod, staticPod: Pod): boolean {
    return isMirrorOf(mirror, staticPod) && !this.#options.isOver(staticPod);
  }

  async #create(staticPod: Pod, owner: MirrorOwner, signal: AbortSignal): Promise<void> {
    const { namespace } = staticPod.metadata;
    const path = `/api/v1/namespaces/${namespace}/pods`;
    const body = mirrorOf(staticPod, owner);
    const answer = await this.#options.api.send('create', path, body, signal);
    // Of another version: the next look at it, when it has been seen, replaces it.
    if (answer.status === 409) return;
    if (answer.object === undefined) throw new Error(answer.reason);
    this.#options.log.info({ pod: podText(staticPod) }, 'mirror pod made');
  }

  async #delete({ metadata }: Pod, signal: AbortSignal): Promise<void> {
    const { namespace, name, uid } = metadata;
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      gracePeriodSeconds: 0,
      preconditions: { uid },
    };
    const answer = await this.#options.api.send('delete', path, body, signal);
    // 409: there is another one by that name now.
    if (answer.object === undefined && answer.status !== 404 && answer.status !== 409)
      throw new Error(answer.reason);
    this.#options.log.info({ pod: `${namespace}/${name} (${uid})` }, 'mirror pod removed');
  }

  async #alone({ metadata }: Pod, work: () => Promise<void>): Promise<void> {
    const key = `${metadata.namespace}/${metadata.name}`;
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    try {
      await work();
      this.#failures.delete(key);
    } catch (error) {
      const text = errorText(error);
      if (this.#failures.get(key) !== text)
        this.#options.log.warn({ pod: key }, `mirror pod of ${key}: ${text}`);
      this.#failures.set(key, text);
    } finally {
      this.#busy.delete(key);
    }
  }
}
