import { setTimeout as delay } from 'node:timers/promises';
import type { Answer, HeldConnection, Question } from '../../src/cli/demo/actor.ts';
import { RequestStream } from './request-stream.ts';
import type { Actor, NodeLab } from './node-lab.ts';

/** Who asks whom, the whole time. */
export interface Conversation {
  readonly actor: Actor;
  readonly question: Question;
}

/** How the conversations went: by what was asked, what else than answers there was. */
export interface TrafficReport {
  readonly answered: number;
  /** The names of those who answered, sorted. */
  readonly by: readonly string[];
  readonly failures: readonly string[];
}

/** New requests of every actor to every target over and over, and a connection to each that stays open. */
export class SteadyTraffic {
  readonly #streams: readonly { readonly name: string; readonly stream: RequestStream }[];
  readonly #held: readonly Promise<TrafficReport>[];
  readonly #pauseMs: number;
  #isOver = false;

  /** `pauseMs` lies between an answer and the next question. */
  constructor(lab: NodeLab, conversations: readonly Conversation[], { pauseMs = 0 } = {}) {
    this.#pauseMs = pauseMs;
    const byActor = Map.groupBy(conversations, ({ actor }) => actor);
    this.#streams = [...byActor].map(([name, list]) => {
      const questions = list.map(({ question }) => question);
      return { name, stream: new RequestStream(lab, name, questions, 2, pauseMs) };
    });
    this.#held = [...byActor.values()].map(async (list) => this.#hold(lab, list));
  }

  /** Ends it all; how it went. */
  async stop(): Promise<TrafficReport> {
    this.#isOver = true;
    const held = await Promise.all(this.#held);
    const asked = await Promise.all(
      this.#streams.map(async ({ name, stream }) => ({ name, counts: await stream.stop() })),
    );
    let answered = held.reduce((sum, report) => sum + report.answered, 0);
    const failures = held.flatMap((report) => report.failures);
    const by = new Set(held.flatMap((report) => report.by));
    for (const { name, counts } of asked) {
      for (const [answer, count] of Object.entries(counts)) {
        if (isPod(answer)) {
          answered += count;
          by.add(answer);
        } else failures.push(`new requests of ${name}: ${answer} × ${count}`);
      }
    }
    return { answered, by: [...by].toSorted(), failures };
  }

  /** One connection a target: each goes on with the pod it has. */
  async #hold(lab: NodeLab, list: readonly Conversation[]): Promise<TrafficReport> {
    const held: { readonly name: string; readonly connection: HeldConnection }[] = [];
    for (const { actor, question } of list) {
      const connection = await lab.open(actor, question);
      const name = `${actor} → ${question.to}:${question.port}/${question.proto ?? 'tcp'}`;
      held.push({ name, connection });
    }
    const failures: string[] = held.flatMap(({ name, connection: { first } }) =>
      typeof first === 'string' ? [`${name}: ${first}`] : [],
    );
    let answered = 0;
    while (!this.#isOver && failures.length === 0) {
      for (const { name, connection } of held) {
        const answer = await connection.again();
        if (sameAnswer(answer, connection.first)) answered++;
        else
          failures.push(
            `held ${name}: ${JSON.stringify(answer)} after ${JSON.stringify(connection.first)}`,
          );
      }
      if (this.#pauseMs > 0) await delay(this.#pauseMs);
    }
    await Promise.all(held.map(async ({ connection }) => connection.close()));
    const by = held.flatMap(({ connection: { first } }) =>
      typeof first === 'string' ? [] : [first.answeredBy],
    );
    return { answered, by, failures };
  }
}

function isPod(answer: string): boolean {
  return !['refused', 'timeout', 'closed'].includes(answer) && !/^E[A-Z]+$/.test(answer);
}

function sameAnswer(a: Answer, b: Answer): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
