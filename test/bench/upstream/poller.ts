import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { execa } from 'execa';
import { servicePort } from './objects.ts';

/** What became of one request; times of the monotonic clock, which all processes share. */
export interface Polled {
  readonly address: string;
  /** The pod's word, or how it failed: {@link isAnswer} tells. */
  readonly said: string;
  readonly askedNs: number;
  readonly answeredNs: number;
}

/** How services are asked. */
export interface Polling {
  /** Each address, on a new connection. */
  readonly everyMs: number;
  /** A request without an answer until then has failed. */
  readonly timeoutMs: number;
  /**
   * Where services may not be programmed yet: the first of source ports that no other request uses. A packet that
   * meets no rules is tracked as one to the service's address itself, and for two minutes whoever uses its port
   * shares that fate.
   */
  readonly firstPort?: number;
}

/** A client that asks services all the time, in a namespace. */
export class Poller {
  readonly #child;
  readonly #polled: Polled[] = [];
  readonly #listeners = new Set<(polled: Polled) => void>();
  readonly #ended = new AbortController();
  readonly #read: Promise<unknown>;

  constructor(
    namespace: string,
    addresses: readonly string[],
    { everyMs, timeoutMs, firstPort = 0 }: Polling,
  ) {
    const script = join(import.meta.dirname, 'poll.py');
    const targets = addresses.map((address) => `${address}:${servicePort}`);
    const numbers = [everyMs, timeoutMs, firstPort].map(String);
    this.#child = execa(
      'ip',
      ['netns', 'exec', namespace, 'python3', script, ...numbers, ...targets],
      { reject: false, buffer: false, stdin: 'pipe', stderr: 'inherit' },
    );
    const lines = createInterface({ input: this.#child.stdout });
    lines.on('line', (line) => {
      const polled = JSON.parse(line) as Polled;
      this.#polled.push(polled);
      for (const tell of this.#listeners) tell(polled);
    });
    this.#read = new Promise<void>((resolve) => lines.once('close', resolve)).then(() =>
      this.#ended.abort(new Error('the client that asks has ended')),
    );
  }

  /** The first request to come, or that came, which is as wanted. Rejects when the signal aborts. */
  async first(wanted: (polled: Polled) => boolean, until: AbortSignal): Promise<Polled> {
    const signal = AbortSignal.any([until, this.#ended.signal]);
    const found = this.#polled.find(wanted);
    if (found !== undefined) return found;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#listeners.delete(listener);
        signal.removeEventListener('abort', abort);
      };
      const listener = (polled: Polled): void => {
        if (!wanted(polled)) return;
        end();
        resolve(polled);
      };
      const abort = (): void => {
        end();
        reject(signal.reason as Error);
      };
      if (signal.aborted) return abort();
      signal.addEventListener('abort', abort);
      this.#listeners.add(listener);
    });
  }

  /** Ends it; all requests, each with its answer. */
  async stop(): Promise<readonly Polled[]> {
    this.#child.stdin.end();
    await this.#read;
    await this.#child;
    return this.#polled;
  }
}

/** Pods say their name or address; failures are upper-case names, `timeout` and `closed`. */
export function isAnswer({ said }: Polled): boolean {
  return /^(pod-|\d)/.test(said);
}
