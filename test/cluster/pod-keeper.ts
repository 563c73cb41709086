import type { ControlPlane } from './control-plane.ts';

const pods = '/api/v1/namespaces/kube-system/pods';

/** A pod as far as placing and replacing goes. */
export interface PlacedPod {
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    /** Not yet: it waits for the scheduler. */
    readonly nodeName?: string;
    readonly containers: readonly { readonly image: string }[];
  };
  readonly status: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message?: string;
    }[];
  };
}

/** Does for pods what the kubelets of all nodes would, as far as the API goes: they become ready, and end when they are told to. */
export class PodKeeper {
  readonly #plane: ControlPlane;
  /** Whether pods that have to end do so. */
  lets: 'end' | 'stay' = 'end';

  constructor(plane: ControlPlane) {
    this.#plane = plane;
  }

  /** A Node with room for pods, which is ready. */
  async addNode(name: string): Promise<void> {
    await this.#plane.must('POST', '/api/v1/nodes', {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, labels: { 'kubernetes.io/os': 'linux', 'kubernetes.io/hostname': name } },
    });
    const room = { cpu: '4', memory: '8Gi', pods: '110' };
    const conditions = [{ type: 'Ready', status: 'True' }];
    const status = { capacity: room, allocatable: room, conditions };
    await this.#patch(`/api/v1/nodes/${name}/status`, { status });
  }

  async label(node: string, key: string, value: string | null): Promise<void> {
    await this.#patch(`/api/v1/nodes/${node}`, { metadata: { labels: { [key]: value } } });
  }

  /** One look at all pods; answers them as they were. */
  async step(): Promise<readonly PlacedPod[]> {
    const { items } = (await this.#plane.must('GET', pods)) as { items: readonly PlacedPod[] };
    for (const pod of items) {
      if (pod.spec.nodeName === undefined) continue;
      if (pod.metadata.deletionTimestamp !== undefined) await this.#end(pod);
      else if (!isReady(pod)) await this.#makeReady(pod);
    }
    return items;
  }

  async #end({ metadata: { name } }: PlacedPod): Promise<void> {
    if (this.lets === 'stay') return;
    await this.#plane.request('DELETE', `${pods}/${name}?gracePeriodSeconds=0`);
  }

  async #makeReady({ metadata: { name } }: PlacedPod): Promise<void> {
    const lastTransitionTime = new Date().toISOString().replace(/\.\d+Z/, 'Z');
    const conditions = [{ type: 'Ready', status: 'True', lastTransitionTime }];
    const path = `${pods}/${name}/status`;
    const type = 'application/strategic-merge-patch+json';
    await this.#plane.request('PATCH', path, { status: { phase: 'Running', conditions } }, type);
  }

  async #patch(path: string, change: object): Promise<void> {
    await this.#plane.must('PATCH', path, change, 'application/merge-patch+json');
  }
}

export function isReady({ status: { conditions = [] } }: PlacedPod): boolean {
  return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
}
