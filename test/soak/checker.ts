import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { HeldConnection } from '../../src/cli/demo/actor.ts';
import type { NodeLab } from '../support/node-lab.ts';
import type { Churner } from './churner.ts';
import type { Ledger, Observation } from './ledger.ts';
import type { FrontendAnswers } from './objects.ts';
import type { Random } from './random.ts';

/** Modes whose answers the checker knows. */
export type SoakMode = 'iptables' | 'userspace';

/** Longer than the API server may take to answer: all changes of the time of asking are recorded by then. */
const judgedAfterMs = 12_000;

/** A frontend that never changes. */
export interface StableTarget extends FrontendAnswers {
  readonly service: string;
  /** With ClientIP affinity one pod alone may answer. */
  readonly sticky: boolean;
}

export interface CheckerOptions {
  readonly mode: SoakMode;
  readonly stable: readonly StableTarget[];
  /** For an answer. */
  readonly patienceMs: number;
}

interface Held {
  readonly target: StableTarget;
  readonly connection: HeldConnection;
}

/** A question that has been answered, by whose Service. */
interface Asked extends Observation {
  readonly service: string;
}

/** Asks with real packets, all the while, and counts what was answered wrongly. */
export class Checker {
  readonly #lab: NodeLab;
  readonly #churner: Churner;
  readonly #ledger: Ledger;
  readonly #random: Random;
  readonly #stable: readonly StableTarget[];
  readonly #mode: SoakMode;
  readonly #patienceMs: number;
  readonly #pins = new Map<string, string>();
  readonly #pending: Asked[] = [];
  questions = 0;
  wrong = 0;
  /** The longest time for which a replaced state was still heard. */
  longestLagMs = 0;
  /** In userspace mode: a client moves where the endpoint that it stays with does not answer a dial. */
  movedPins = 0;
  /** The first wrong answers, in words. */
  readonly complaints: string[] = [];

  constructor(
    lab: NodeLab,
    churner: Churner,
    ledger: Ledger,
    random: Random,
    { mode, stable, patienceMs }: CheckerOptions,
  ) {
    this.#lab = lab;
    this.#churner = churner;
    this.#ledger = ledger;
    this.#random = random;
    this.#stable = stable;
    this.#mode = mode;
    this.#patienceMs = patienceMs;
    for (const { key, answers } of stable) ledger.record(key, answers, 0, 0);
  }

  /** Asks at a steady rate until `signal` aborts, then waits for the answers and judges them all. */
  async run(perSecond: number, signal: AbortSignal): Promise<void> {
    const running = new Set<Promise<void>>();
    const failures: Error[] = [];
    const failed = (error: unknown): void => {
      failures.push(error instanceof Error ? error : new Error(String(error)));
    };
    const holding = this.#hold(signal).catch(failed);
    let dueMs = performance.now();
    while (!signal.aborted && failures.length === 0) {
      const asked = this.#askOne().catch(failed);
      running.add(asked);
      void asked.finally(() => running.delete(asked));
      dueMs = Math.max(dueMs + 1000 / perSecond, performance.now() - 1000);
      await delay(Math.max(1, dueMs - performance.now()));
      this.#judge(performance.now() - judgedAfterMs);
    }
    await Promise.all(running);
    // A client that is gone answers nothing: there is nothing to wait for.
    const [failure] = failures;
    if (failure !== undefined) throw failure;
    await holding;
  }

  /** To be called when nothing changes any more. */
  judgeAll(): void {
    this.#judge(Number.POSITIVE_INFINITY);
  }

  async #askOne(): Promise<void> {
    const churned = this.#random.chance(0.6) ? this.#churner.targets() : [];
    const target = this.#random.pick<FrontendAnswers & { readonly service: string }>(
      churned.length === 0 ? this.#stable : churned,
    );
    const { to, port, protocol, key, service } = target;
    const proto = protocol === 'TCP' ? 'tcp' : 'udp';
    const askedMs = performance.now();
    const question = { to, port, proto, timeoutMs: this.#patienceMs } as const;
    const heard = await this.#lab.probe('client', question);
    const answer = typeof heard === 'string' ? heard : heard.answeredBy;
    this.questions++;
    this.#checkPin(key, answer);
    this.#pending.push({ frontend: key, service, answer, askedMs, answeredMs: performance.now() });
  }

  /** What is no pod's answer is judged with the others. */
  #checkPin(key: string, answer: string): void {
    const target = this.#stable.find((each) => each.key === key && each.sticky);
    if (target?.answers.has(answer) !== true) return;
    const pinned = this.#pins.get(key) ?? answer;
    if (answer !== pinned && this.#mode === 'userspace') this.movedPins++;
    else if (answer !== pinned) this.#complain(`${key}: ${answer} answered a client of ${pinned}`);
    this.#pins.set(key, this.#mode === 'userspace' ? answer : pinned);
  }

  /** Connections that were open before the churn go on, to the same pod. */
  async #hold(signal: AbortSignal): Promise<void> {
    const held: Held[] = [];
    for (const target of this.#stable) {
      const { to, port, protocol, answers } = target;
      if (answers.has('refused')) continue;
      const proto = protocol === 'TCP' ? 'tcp' : 'udp';
      held.push({ target, connection: await this.#lab.open('client', { to, port, proto }) });
    }
    while (!signal.aborted) {
      for (const each of held) {
        const answer = await each.connection.again(this.#patienceMs);
        this.questions++;
        if (isDeepStrictEqual(answer, each.connection.first)) continue;
        const [was, is] = [each.connection.first, answer].map((one) => JSON.stringify(one));
        this.#complain(`${each.target.key}: an open connection to ${was} now hears ${is}`);
      }
      await delay(1000, undefined, { signal }).catch(() => {});
    }
    for (const { connection } of held) await connection.close();
  }

  #judge(beforeMs: number): void {
    // In the order of asking but for those that waited long: these hold the others up for a moment.
    while (this.#pending[0] !== undefined && this.#pending[0].answeredMs <= beforeMs) {
      const [asked] = this.#pending.splice(0, 1);
      if (asked === undefined) return;
      const verdict = this.#ledger.judge(asked);
      if (verdict.right) this.longestLagMs = Math.max(this.longestLagMs, verdict.lagMs);
      else {
        const { service, frontend, answer } = asked;
        const right = verdict.expected.join(', ');
        this.#complain(`${service} at ${frontend}: ${answer} instead of ${right}`);
      }
    }
    if (Number.isFinite(beforeMs)) this.#ledger.prune(beforeMs - judgedAfterMs);
  }

  #complain(text: string): void {
    this.wrong++;
    const stamped = `${new Date().toISOString()} ${text}`;
    if (this.complaints.length < 50) this.complaints.push(stamped);
    process.stderr.write(`soak: wrong: ${stamped}\n`);
  }
}
