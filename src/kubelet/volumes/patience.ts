import type { Clock } from '../../clock.ts';
import type { ApiClient, ApiResponse, ApiWriter } from '../../informer/api-client.ts';

const waitsMs = [50, 100, 200, 400, 800] as const;

/** One whose body, where it has one, has to be read. */
type Answer = Pick<ApiResponse, 'status'> & Partial<Pick<ApiResponse, 'body'>>;

/**
 * Asks again where the answer is 403, for a second and a half: the node authoriser learns of a pod from a watch of its own, a moment after
 * the kubelet may have.
 */
export async function whileForbidden<T extends Answer>(
  clock: Pick<Clock, 'sleep'>,
  signal: AbortSignal,
  ask: () => Promise<T>,
): Promise<T> {
  for (const waitMs of waitsMs) {
    const response = await ask();
    if (response.status !== 403) return response;
    // what it says is the same again and again; read, it gives its connection back
    response.body?.on('error', () => undefined).resume();
    await clock.sleep(waitMs, signal);
    signal.throwIfAborted();
  }
  return ask();
}

/** A client whose reads do so. */
export function patientReader(client: ApiClient, clock: Pick<Clock, 'sleep'>): ApiClient {
  return {
    server: client.server,
    get: async (path, query, signal, accept) =>
      whileForbidden(clock, signal, async () => client.get(path, query, signal, accept)),
    reloadCredentials: async () => client.reloadCredentials(),
    close: async () => client.close(),
  };
}

/** The same for what is written. */
export function patientWriter(client: ApiWriter, clock: Pick<Clock, 'sleep'>): ApiWriter {
  return {
    server: client.server,
    send: async (verb, path, value, signal) =>
      whileForbidden(clock, signal, async () => client.send(verb, path, value, signal)),
    reloadCredentials: async () => client.reloadCredentials(),
  };
}
