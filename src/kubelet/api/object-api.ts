import { json } from 'node:stream/consumers';
import type { Clock } from '../../clock.ts';
import { errorText, SwitchyardError } from '../../error.ts';
import type { ApiClient, ApiResponse, ApiWriter } from '../../informer/api-client.ts';
import { failureOfResponse } from '../../informer/api-failure.ts';
import type { Verb } from '../../informer/api-failure.ts';
import { withWatchdog } from '../../informer/watchdog.ts';

/** What is asked for, as a rule of RBAC names it. */
export interface ApiKind {
  /** `v1`, `coordination.k8s.io/v1`. */
  readonly apiVersion: string;
  readonly resource: string;
}

/** An answer that the caller has to judge. */
export interface ObjectAnswer {
  readonly status: number;
  /** The object, where the request succeeded. */
  readonly object: ApiObject | undefined;
  /** Of any other answer: what was said, and what to do. */
  readonly reason: string;
  /** The server's own wish. */
  readonly retryAfterMs: number | undefined;
}

/** An object as far as all are alike. */
export interface ApiObject {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion?: string;
    readonly deletionTimestamp?: string;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

const verbs = {
  create: 'create',
  merge: 'patch',
  strategicMerge: 'patch',
  replace: 'update',
  delete: 'delete',
} as const satisfies Record<string, Verb>;
const longestCallMs = 10_000;

/**
 * Reads and writes single objects of one kind, each call within 10 s. Answers whatever the server says; throws where it says nothing. After a
 * 401 the credentials are read again.
 */
export class ObjectApi {
  readonly #client: ApiClient & ApiWriter;
  readonly #clock: Clock;
  readonly #kind: ApiKind;
  readonly #longestMs: number;

  constructor(
    client: ApiClient & ApiWriter,
    clock: Clock,
    kind: ApiKind,
    longestMs: number = longestCallMs,
  ) {
    this.#client = client;
    this.#clock = clock;
    this.#kind = kind;
    this.#longestMs = longestMs;
  }

  async get(path: string, signal: AbortSignal): Promise<ObjectAnswer> {
    return this.#ask('get', signal, async (guarded) => this.#client.get(path, {}, guarded));
  }

  async send(
    verb: keyof typeof verbs,
    path: string,
    value: unknown,
    signal: AbortSignal,
  ): Promise<ObjectAnswer> {
    return this.#ask(verbs[verb], signal, async (guarded) =>
      this.#client.send(verb, path, value, guarded),
    );
  }

  async #ask(
    verb: Verb,
    signal: AbortSignal,
    call: (signal: AbortSignal) => Promise<ApiResponse>,
  ): Promise<ObjectAnswer> {
    const { resource } = this.#kind;
    try {
      return await withWatchdog(this.#clock, this.#longestMs, signal, async (guarded) =>
        this.#read(verb, await call(guarded)),
      );
    } catch (error) {
      signal.throwIfAborted();
      const reason = `cannot ${verb} ${resource}: ${errorText(error)}`;
      throw new SwitchyardError('source', reason, { cause: error, retryable: true });
    }
  }

  async #read(verb: Verb, response: ApiResponse): Promise<ObjectAnswer> {
    const { status } = response;
    if (status >= 200 && status < 300) {
      const object = (await json(response.body)) as ApiObject;
      return { status, object, reason: '', retryAfterMs: undefined };
    }
    const nowMs = this.#clock.now();
    const { reason, retryAfterMs } = await failureOfResponse(response, verb, this.#kind, nowMs);
    if (status === 401) await this.#client.reloadCredentials();
    return { status, object: undefined, reason, retryAfterMs };
  }
}
