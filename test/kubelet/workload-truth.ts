import { expect } from 'vitest';
import type { Run } from './runs.ts';
import { restarts } from './workload-cluster.ts';
import type { PlacedPod, WorkloadCluster } from './workload-cluster.ts';

/** Each container's id and how often it was started anew. */
export function identities(pods: readonly PlacedPod[]): readonly string[] {
  return pods.flatMap(({ metadata, status }) =>
    (status.containerStatuses ?? []).map(
      ({ containerID, restartCount }) => `${metadata.name} ${containerID} ${restartCount}`,
    ),
  );
}

/** What the runtimes of a cluster have told, and whether statuses say the same. */
export class WorkloadTruth {
  readonly #world: WorkloadCluster;

  constructor(world: WorkloadCluster) {
    this.#world = world;
  }

  /** Lives of the container `main` of a pod of the namespace default. */
  async mainRuns(pod: string): Promise<readonly Run[]> {
    const runs = await this.#world.runs.of(`default/${pod}`);
    return runs.filter(({ container }) => container === 'main');
  }

  /** Nothing ran twice, and what ran was seen. */
  async ranOnce(): Promise<void> {
    const { runs, cluster } = this.#world;
    expect(await runs.twice()).toEqual([]);
    for (const node of cluster.nodes) expect(await runs.missed(node)).toEqual([]);
  }

  /** Waits until the statuses in the API say what the runtimes have said: which run of each container is the present one, and of how many. */
  async statusesAreTrue(): Promise<void> {
    let wrong: readonly string[] = [];
    await this.#world.until(
      'the statuses are true',
      async () => {
        wrong = await this.#untrue();
        return wrong.length === 0;
      },
      60,
      () => wrong,
    );
  }

  async #untrue(): Promise<readonly string[]> {
    const found: string[] = [];
    for (const pod of await this.#world.pods('')) {
      const runs = (await this.mainRuns(pod.metadata.name)).filter(
        ({ uid }) => uid === runtimeUid(pod),
      );
      const [said] = pod.status.containerStatuses ?? [];
      const id = said?.containerID?.replace('containerd://', '');
      if (id !== runs.at(-1)?.id || restarts(pod) !== Math.max(0, runs.length - 1)) {
        found.push(`${pod.metadata.name}: ${id} ${restarts(pod)}, ran ${runs.length} times`);
      }
    }
    return found;
  }
}

/** Of a mirror: the static pod's. */
function runtimeUid({ metadata }: PlacedPod): string {
  return metadata.annotations?.['kubernetes.io/config.hash'] ?? metadata.uid;
}
