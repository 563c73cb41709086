import type { Clock } from '../../clock.ts';
import { errorText, SwitchyardError } from '../../error.ts';
import type { ApiClient } from '../../informer/api-client.ts';
import { ApiSource } from '../../informer/api-source.ts';
import { Informer } from '../../informer/informer.ts';
import type { Kind, KubeObject } from '../../informer/kind.ts';
import type { Log } from '../../telemetry/log.ts';

export interface WatchedObjectOptions<T extends KubeObject> {
  readonly kind: Kind<T>;
  readonly client: ApiClient;
  readonly clock: Clock;
  /** Numbers in [0, 1): jitter. */
  readonly random: () => number;
  readonly log: Log;
  /** The object came, changed or went since somebody was given it, or was told that nothing is known of it. */
  readonly onChange: () => void;
}

/** A server that answers nothing must not hold a pod's worker for long. */
const longestWaitMs = 10_000;

type State = 'unknown' | 'failed' | 'known';

/** One ConfigMap or Secret, watched until it is stopped, or known to be immutable. */
export class WatchedObject<T extends KubeObject & { readonly immutable: boolean }> {
  readonly #options: WatchedObjectOptions<T>;
  readonly #stopping = new AbortController();
  readonly #heard = Promise.withResolvers<undefined>();
  readonly #done: Promise<void>;
  #state: State = 'unknown';
  #problem = '';
  #object: T | undefined;

  constructor(options: WatchedObjectOptions<T>) {
    this.#options = options;
    const { client, kind, clock, random, log: given } = options;
    const log = quiet(given);
    const source = new ApiSource({
      client,
      kind,
      clock,
      random,
      log,
      onEvent: (event) => {
        if (event.type === 'failed') this.#failed(event.failure.reason);
      },
    });
    const informer = new Informer<T>({
      source,
      log,
      name: kind.resource,
      handlers: [
        {
          added: (object) => this.#set(object),
          updated: (_old, object) => this.#set(object),
          removed: () => this.#set(undefined),
          synced: () => this.#synced(),
        },
      ],
    });
    this.#done = informer.start(this.#stopping.signal).catch((error: unknown) => {
      given.error({ err: error }, `${kind.resource} is not watched: ${errorText(error)}`);
      this.#failed(errorText(error));
    });
  }

  /** Waits for the first answer. undefined: there is no such object. Throws where nothing was heard of it. */
  async value(signal: AbortSignal): Promise<T | undefined> {
    if (this.#state === 'unknown') await this.#firstWord(signal);
    if (this.#state === 'known') return this.#object;
    const why = this.#problem === '' ? 'timed out waiting for the condition' : this.#problem;
    const cache = `${this.#options.kind.kind.toLowerCase()} cache`;
    throw new SwitchyardError('source', `failed to sync ${cache}: ${why}`, { retryable: true });
  }

  /** Resolves when the watch has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#done;
  }

  async #firstWord(signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const stop = (): void => over.abort();
    signal.addEventListener('abort', stop, { once: true });
    try {
      await Promise.race([
        this.#heard.promise,
        this.#options.clock.sleep(longestWaitMs, AbortSignal.any([signal, over.signal])),
      ]);
    } finally {
      signal.removeEventListener('abort', stop);
      over.abort();
    }
    signal.throwIfAborted();
    // somebody was told that nothing is known
    if (this.#state === 'unknown') this.#state = 'failed';
  }

  #set(object: T | undefined): void {
    this.#object = object;
    if (this.#state === 'known') this.#options.onChange();
    if (object?.immutable === true) this.#stopping.abort();
  }

  #synced(): void {
    const wasMissed = this.#state === 'failed';
    this.#state = 'known';
    this.#heard.resolve(undefined);
    if (wasMissed) this.#options.onChange();
  }

  #failed(reason: string): void {
    if (this.#state === 'known') return;
    this.#problem = reason;
    this.#state = 'failed';
    this.#heard.resolve(undefined);
  }
}

/**
 * Each object has a watch of its own: that it began is news for nobody, and that a server is away is told by those who watch all of a kind.
 * Who asks for an object of which nothing is known is told why.
 */
function quiet(log: Log): Log {
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.debug(fields, message),
    warn: (fields, message) => log.debug(fields, message),
    error: (fields, message) => log.error(fields, message),
  };
}
