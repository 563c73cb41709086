import type { Cri } from '../../../src/kubelet/cri/client.ts';
import { followTasks } from '../task-events.ts';

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
    const told = ({ what, id }: { readonly what: string; readonly id: string }): void => {
      if (what === 'start') this.#started.push(id);
    };
    void followTasks(this.#cri, { told }, this.#stop.signal);
  }

  leave(): void {
    this.#stop.abort();
  }
}
