import type { Clock } from '../clock.ts';
import { aborted } from '../informer/wakeup.ts';
import type { Agent } from './agent.ts';

/** Who connected just before `when` is being let in by the one before. */
const lateMs = 1000;

/** For so long at most: rules of one family that can never be written must not keep an agent for each change of the file. */
const longestMs = 600_000;

/** Agents that another one has followed: what they still carry may end by itself. */
export class Retirement {
  readonly #clock: Clock;
  readonly #onClosed: () => void;
  /** Aborts when nobody follows any more. */
  readonly #ending = new AbortController();
  readonly #hurry = new AbortController();
  readonly #closing = new Set<Promise<void>>();

  /** `onClosed`: one of them is garbage now. */
  constructor(clock: Clock, onClosed: () => void) {
    this.#clock = clock;
    this.#onClosed = onClosed;
  }

  /** Ends an agent a moment after `when`, or when that does not come; its connections may last for `withinMs` then. */
  add(agent: Pick<Agent, 'close'>, when: Promise<void>, withinMs: number): void {
    const closing = this.#close(agent, when, withinMs);
    this.#closing.add(closing);
    void this.#forget(closing);
  }

  /** The process ends: no connection lasts longer than `withinMs` from now on. */
  async end(withinMs: number): Promise<void> {
    this.#ending.abort();
    const all = Promise.all(this.#closing);
    const over = new AbortController();
    await Promise.race([all, this.#clock.sleep(withinMs, over.signal)]);
    over.abort();
    this.#hurry.abort();
    await all;
  }

  async #forget(closing: Promise<void>): Promise<void> {
    await closing;
    this.#closing.delete(closing);
    if (!this.#ending.signal.aborted) this.#onClosed();
  }

  async #close(agent: Pick<Agent, 'close'>, when: Promise<void>, withinMs: number): Promise<void> {
    const { signal } = this.#ending;
    const waited = new AbortController();
    const tooLong = this.#clock.sleep(longestMs, waited.signal);
    await Promise.race([when, aborted(signal), tooLong]);
    waited.abort();
    await this.#clock.sleep(lateMs, signal);
    await agent.close({ withinMs, hurry: this.#hurry.signal });
  }
}
