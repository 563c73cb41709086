import type { Cri } from '../../../src/kubelet/cri/client.ts';
import { followTasks } from '../task-events.ts';
import type { TaskEvent } from '../task-events.ts';

/** What the runtime itself told of its first processes: by it, and not by any status, a scenario knows what ran, and how often. */
export class Tasks {
  readonly #cri: Cri;
  readonly #told: TaskEvent[] = [];
  readonly #stop = new AbortController();

  constructor(cri: Cri) {
    this.#cri = cri;
  }

  /** Of containers and sandboxes, all that were started until now. */
  get started(): number {
    return this.#told.filter(({ what }) => what === 'start').length;
  }

  /** How often this container was started. */
  starts(id: string): number {
    return this.#told.filter((each) => each.what === 'start' && each.id === id).length;
  }

  /** Of these, those that have ended, in the order in which they did. */
  ended(ids: readonly string[]): readonly string[] {
    const exits = this.#told.filter(({ what, id }) => what === 'exit' && ids.includes(id));
    return exits.map(({ id }) => id);
  }

  follow(): void {
    const told = (event: TaskEvent): void => void this.#told.push(event);
    void followTasks(this.#cri, { told }, this.#stop.signal);
  }

  leave(): void {
    this.#stop.abort();
  }
}
