import { fromBinary } from '@bufbuild/protobuf';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cri } from '../../../src/kubelet/cri/client.ts';
import { TaskEventSchema } from '../../../src/kubelet/cri/gen/containerd-events_pb.ts';

/** What the runtime itself told of its first processes: by it, and not by any status, a scenario knows what ran, and how often. */
export class TaskStarts {
  readonly #cri: Cri;
  readonly #started: string[] = [];
  readonly #stop = new AbortController();

  constructor(cri: Cri) {
    this.#cri = cri;
  }

  /** Ids of containers and sandboxes, in the order of their starts. */
  get all(): readonly string[] {
    return this.#started;
  }

  /** How often this container was started. */
  count(id: string): number {
    return this.#started.filter((each) => each === id).length;
  }

  follow(): void {
    void this.#follow();
  }

  leave(): void {
    this.#stop.abort();
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    const headers = { 'containerd-namespace': 'k8s.io' };
    const filters = ['topic=="/tasks/start"'];
    while (!signal.aborted) {
      try {
        for await (const { event } of this.#cri.events.subscribe(
          { filters },
          { signal, headers },
        )) {
          if (event) this.#started.push(fromBinary(TaskEventSchema, event.value).containerId);
        }
      } catch {
        // The runtime was restarted.
      }
      await delay(50);
    }
  }
}
