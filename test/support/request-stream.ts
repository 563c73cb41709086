import { setTimeout as delay } from 'node:timers/promises';
import type { Answer, Question } from '../../src/cli/demo/actor.ts';
import { countAnswers, requestPauseMs, requestsAtATime } from './node-lab.ts';
import type { Actor, NodeLab } from './node-lab.ts';

/** Requests that never stop, several at a time, while something else happens. */
export class RequestStream {
  readonly #answers: Answer[] = [];
  readonly #askers: readonly Promise<void>[];
  #isOver = false;

  /** The actor asks the questions in turn, `atATime` of them at once and with `pauseMs` between. */
  constructor(
    lab: NodeLab,
    actor: Actor,
    questions: readonly Question[],
    atATime = requestsAtATime,
    pauseMs = requestPauseMs,
  ) {
    this.#askers = Array.from({ length: atATime }, async () => {
      for (let i = 0; !this.#isOver; i++) {
        const question = questions[i % questions.length];
        if (question !== undefined) this.#answers.push(await lab.ask(actor, question));
        if (pauseMs > 0) await delay(pauseMs);
      }
    });
  }

  /** Ends the stream; how its requests went. */
  async stop(): Promise<Readonly<Record<string, number>>> {
    this.#isOver = true;
    await Promise.all(this.#askers);
    return countAnswers(this.#answers);
  }
}
