import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Answer } from '../../../src/cli/demo/actor.ts';

const timeoutMs = 3000;
const atOnce = 4;

/** Requests that go on until they are stopped. */
export interface Visits {
  /** Who has answered so far. */
  readonly seen: ReadonlySet<string>;
  /** Ends them; gives all answers. */
  stop(): Promise<readonly Answer[]>;
}

/** Clients outside of the cluster: each request is a connection of its own, to one address after the other. */
export class Visitors {
  readonly #urls: readonly string[];
  #asked = 0;

  constructor(urls: readonly string[]) {
    this.#urls = urls;
  }

  /** Waits until so many pods have answered, whichever address was asked. */
  async untilAnsweredBy(pods: number): Promise<void> {
    const deadline = performance.now() + 30_000;
    for (const url of this.#urls) {
      const seen = new Set<string>();
      while (seen.size < pods) {
        const answer = await ask(url);
        if (typeof answer === 'string') await delay(50);
        else seen.add(answer.answeredBy);
        if (performance.now() > deadline) throw new Error(`${url}: ${seen.size} pods answer`);
      }
    }
  }

  async ask(count: number): Promise<readonly Answer[]> {
    const answers: Answer[] = [];
    while (answers.length < count) answers.push(await this.#next());
    return answers;
  }

  keepAsking(): Visits {
    const answers: Answer[] = [];
    const seen = new Set<string>();
    const stop = new AbortController();
    const client = async (): Promise<void> => {
      while (!stop.signal.aborted) {
        const answer = await this.#next();
        answers.push(answer);
        if (typeof answer !== 'string') seen.add(answer.answeredBy);
        await delay(10);
      }
    };
    const clients = Array.from({ length: atOnce }, client);
    return {
      seen,
      stop: async () => {
        stop.abort();
        await Promise.all(clients);
        return answers;
      },
    };
  }

  async #next(): Promise<Answer> {
    return ask(this.#urls[this.#asked++ % this.#urls.length] ?? '');
  }
}

async function ask(url: string): Promise<Answer> {
  return new Promise((resolve) => {
    const call = request(url, { agent: false, timeout: timeoutMs }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.once('error', () => resolve('closed'));
      response.once('end', () => {
        resolve(
          response.statusCode === 200 ? { answeredBy: body.trim(), sourceSeen: '' } : 'closed',
        );
      });
    });
    call.once('timeout', () => {
      resolve('timeout');
      call.destroy();
    });
    call.once('error', () => resolve('refused'));
    call.end();
  });
}
