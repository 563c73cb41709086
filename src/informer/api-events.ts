import type { Clock } from '../clock.ts';
import { SwitchyardError } from '../error.ts';
import type { EventAnswer, EventSink, WireEvent, WireSeries } from '../telemetry/events.ts';
import type { ApiResponse, ApiWriter } from './api-client.ts';
import { failureOfError, failureOfResponse } from './api-failure.ts';
import type { ApiFailure } from './api-failure.ts';
import { withWatchdog } from './watchdog.ts';

const resource = { apiVersion: 'events.k8s.io/v1', resource: 'events' };
const longestCallMs = 10_000;
/** The server's present state, which passes; without a status nobody answered. */
const passing = new Set([401, 408, 429]);

/** Writes Events to the API server. */
export class ApiEventSink implements EventSink {
  readonly #client: ApiWriter;
  readonly #clock: Clock;

  constructor(client: ApiWriter, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  async create(event: WireEvent, signal: AbortSignal): Promise<EventAnswer> {
    return this.#send('create', pathOf(event.metadata.namespace), event, signal);
  }

  async patchSeries(
    { namespace, name }: WireEvent['metadata'],
    series: WireSeries,
    signal: AbortSignal,
  ): Promise<EventAnswer> {
    const path = `${pathOf(namespace)}/${encodeURIComponent(name)}`;
    return this.#send('patch', path, { series }, signal);
  }

  async #send(
    verb: 'create' | 'patch',
    path: string,
    value: unknown,
    signal: AbortSignal,
  ): Promise<EventAnswer> {
    try {
      return await withWatchdog(this.#clock, longestCallMs, signal, async (guarded) => {
        const how = verb === 'create' ? verb : 'merge';
        const response = await this.#client.send(how, path, value, guarded);
        return this.#answerOf(response, verb);
      });
    } catch (error) {
      signal.throwIfAborted();
      const failure = failureOfError(error, verb, resource);
      // Credentials that cannot be had are for somebody to mend, as far as a single Event goes.
      const retryable = error instanceof SwitchyardError ? error.retryable : true;
      return failed(failure, retryable);
    }
  }

  async #answerOf(response: ApiResponse, verb: 'create' | 'patch'): Promise<EventAnswer> {
    const { status } = response;
    const failure = await failureOfResponse(response, verb, resource, this.#clock.now());
    if (status >= 200 && status < 300) return { kind: 'written' };
    if (status === 409 && verb === 'create') return { kind: 'exists' };
    if (status === 404 && verb === 'patch') return { kind: 'gone' };
    if (status === 401) await this.#client.reloadCredentials();
    return failed(failure, passing.has(status) || status >= 500);
  }
}

function pathOf(namespace: string): string {
  return `/apis/events.k8s.io/v1/namespaces/${namespace}/events`;
}

function failed({ reason, retryAfterMs }: ApiFailure, retryable: boolean): EventAnswer {
  return { kind: 'failed', reason, retryable, retryAfterMs };
}
