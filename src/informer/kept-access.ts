import type { Clock } from '../clock.ts';
import { errorText, SwitchyardError } from '../error.ts';
import type { Log } from '../telemetry/log.ts';
import type { ApiAccess, Credentials } from './api-credentials.ts';

/** One look at the credentials, for all who ask meanwhile. */
interface Look {
  readonly credentials: Promise<Credentials>;
  readonly stop: AbortController;
}

/** Plugins may be slow and all sources ask at once after a 401: one reload serves them all. */
const reloadIntervalMs = 1_000;

/** The settings by which an API server is reached, kept while they cannot be read anew; for all clients that have them. */
export class KeptAccess {
  readonly #load: (clientFile: string | undefined) => ApiAccess;
  readonly #log: Log;
  readonly #clock: Clock;
  #access: ApiAccess;
  #clientFile: string | undefined;
  #look: Look | undefined;
  #reload: { readonly atMs: number; readonly done: Promise<void> } | undefined;

  /** Loads at once: throws where the settings cannot be used. */
  constructor(
    load: (clientFile: string | undefined) => ApiAccess,
    { log, clock }: { readonly log: Log; readonly clock: Clock },
  ) {
    this.#load = load;
    this.#log = log;
    this.#clock = clock;
    this.#access = load(undefined);
  }

  get server(): string {
    return this.#access.server;
  }

  /** Undefined: no proxy. */
  get proxyUrl(): string | undefined {
    return this.#access.proxyUrl;
  }

  /** Concurrent requests share one look at the credentials: a plugin must not run once for each. */
  async credentials(): Promise<Credentials> {
    this.#look ??= this.#newLook();
    return this.#look.credentials;
  }

  /** Reads everything again and drops what plugins gave. */
  async reload(): Promise<void> {
    const nowMs = this.#clock.monotonic();
    if (this.#reload === undefined || nowMs - this.#reload.atMs >= reloadIntervalMs) {
      this.#reload = { atMs: nowMs, done: this.#loadAgain(this.#clientFile) };
    }
    await this.#reload.done;
  }

  /**
   * From now on the client certificate and the key of a file count instead of what the settings say; undefined: what they say. Where the settings
   * cannot be read nothing changes, until it is said again.
   */
  async useClientFile(path: string | undefined): Promise<void> {
    if (this.#clientFile !== path) await this.#loadAgain(path);
  }

  /** Ends a plugin that runs. */
  dropLook(reason: string): void {
    this.#look?.stop.abort(new SwitchyardError('source', reason, { retryable: true }));
    this.#look = undefined;
  }

  /** A kubeconfig that is being rewritten must not cost us the one that we have. */
  async #loadAgain(clientFile: string | undefined): Promise<void> {
    try {
      this.#access = this.#load(clientFile);
      this.#clientFile = clientFile;
      this.dropLook('the credentials are read anew');
    } catch (error) {
      this.#log.warn({ err: error }, `credentials not reloaded: ${errorText(error)}`);
    }
  }

  #newLook(): Look {
    const stop = new AbortController();
    const over = (): void => {
      if (this.#look === look) this.#look = undefined;
    };
    const credentials = this.#access.credentials(stop.signal).finally(over);
    const look = { credentials, stop };
    return look;
  }
}
