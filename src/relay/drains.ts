import type { After } from './dialer.ts';

/** What ends at a deadline at the latest. */
export interface Drained {
  reset(): void;
}

/** Connections that are on their way out, each with its own deadline (milliseconds of `now`). */
export class Drains {
  readonly #after: After;
  readonly #now: () => number;
  readonly #deadlines = new Map<Drained, number>();
  #stop: (() => void) | undefined;
  #wakesAt = Number.POSITIVE_INFINITY;

  constructor(after: After, now: () => number) {
    this.#after = after;
    this.#now = now;
  }

  /** An earlier deadline of the same connection stays. */
  add(drained: Drained, withinMs: number): void {
    const deadline = this.#now() + withinMs;
    if ((this.#deadlines.get(drained) ?? Number.POSITIVE_INFINITY) <= deadline) return;
    this.#deadlines.set(drained, deadline);
    if (deadline < this.#wakesAt) this.#wakeAt(deadline);
  }

  /** It has ended, or may stay after all. */
  delete(drained: Drained): void {
    this.#deadlines.delete(drained);
  }

  #wakeAt(deadline: number): void {
    this.#stop?.();
    this.#wakesAt = deadline;
    this.#stop = this.#after(Math.max(0, deadline - this.#now()), () => {
      this.#wake();
    });
  }

  #wake(): void {
    const now = this.#now();
    this.#wakesAt = Number.POSITIVE_INFINITY;
    let next = Number.POSITIVE_INFINITY;
    for (const [drained, deadline] of this.#deadlines) {
      if (deadline > now) next = Math.min(next, deadline);
      else {
        this.#deadlines.delete(drained);
        drained.reset();
      }
    }
    if (next !== Number.POSITIVE_INFINITY) this.#wakeAt(next);
  }
}
