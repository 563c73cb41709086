import type { Choice, Chosen } from './choice.ts';
import type { DialFailure } from './relay.ts';
import { codeOf } from './wire.ts';
import type { Wire, Wires } from './wire.ts';

/** How long each try may take; the last counts for all further ones. */
const triesMs = [250, 500, 1000, 2000] as const;

/** Calls back after some milliseconds, unless what it answers is called before. */
export type After = (ms: number, action: () => void) => () => void;

/** A timer of Node can wait no longer, and does not wait at all where it is asked to. Nobody here minds to be called early. */
const longestMs = 2 ** 31 - 1;

/** What is ready to be read goes first: a thread that was held up does not take that for a silence of others. */
export const systemAfter: After = (ms, action) => {
  let check: NodeJS.Immediate | undefined;
  const timer = setTimeout(
    () => {
      check = setImmediate(action);
    },
    Math.min(ms, longestMs),
  );
  return () => {
    clearTimeout(timer);
    clearImmediate(check);
  };
};

export interface DialPlan {
  readonly wires: Wires;
  readonly after: After;
  readonly choice: Choice;
  /** A try has failed; another may follow. */
  readonly failed: (chosen: Chosen, reason: DialFailure) => void;
  readonly connected: (wire: Wire, chosen: Chosen) => void;
  /** No endpoint has answered, or there is none. */
  readonly gaveUp: () => void;
}

/** Tries one endpoint after the other until one answers. */
export class Dial {
  readonly #plan: DialPlan;
  #wire: Wire | undefined;
  #stopWaiting: (() => void) | undefined;

  constructor(plan: DialPlan) {
    this.#plan = plan;
  }

  /** To be called once. */
  start(): void {
    for (;;) {
      const chosen = this.#plan.choice.next();
      if (chosen === undefined) {
        this.#plan.gaveUp();
        return;
      }
      const code = this.#try(chosen);
      if (code === undefined) return;
      if (this.#note(chosen, code) === 'files') return;
    }
  }

  /** The client is gone: nobody is told anything any more. */
  abandon(): void {
    this.#stopWaiting?.();
    this.#wire?.reset();
    this.#wire = undefined;
  }

  /** Answers the error where the try has failed at once. */
  #try(chosen: Chosen): string | undefined {
    const { wires, after, choice } = this.#plan;
    try {
      const wire: Wire = wires.connect(chosen.target.endpoint, (code) => {
        // One that was given up is heard of once more.
        if (this.#wire === wire) this.#settled(chosen, code);
      });
      this.#wire = wire;
    } catch (error) {
      return codeOf(error);
    }
    const waitMs = triesMs[Math.min(choice.tries, triesMs.length) - 1] ?? triesMs[3];
    this.#stopWaiting = after(waitMs, () => {
      this.#wire?.reset();
      this.#settled(chosen, 'ETIMEDOUT');
    });
    return undefined;
  }

  #settled(chosen: Chosen, code: string | undefined): void {
    const wire = this.#wire;
    if (wire === undefined) return;
    this.#stopWaiting?.();
    this.#wire = undefined;
    if (code === undefined) {
      this.#plan.connected(wire, chosen);
      return;
    }
    wire.close();
    if (this.#note(chosen, code) !== 'files') this.start();
  }

  /** Another endpoint does not help where we have no more file descriptors. */
  #note(chosen: Chosen, code: string): DialFailure {
    const reason = reasonOf(code);
    this.#plan.choice.failed(chosen.target);
    this.#plan.failed(chosen, reason);
    if (reason === 'files') this.#plan.gaveUp();
    return reason;
  }
}

const reasons: Readonly<Record<string, DialFailure>> = {
  ECONNREFUSED: 'refused',
  ETIMEDOUT: 'timeout',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  EHOSTDOWN: 'unreachable',
  ENETDOWN: 'unreachable',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  EMFILE: 'files',
  ENFILE: 'files',
};

/** Why a dial has failed, from the system's word. */
export function reasonOf(code: string): DialFailure {
  return reasons[code] ?? 'other';
}
