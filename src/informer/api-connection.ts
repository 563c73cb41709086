import type { Clock } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';
import type { RestRequest } from '../telemetry/rest-client-metrics.ts';
import { loadApiClients } from './api-client.ts';
import type { ApiClientOptions, ApiClients } from './api-client.ts';
import { ApiSource } from './api-source.ts';
import type { RunProgram } from './exec-plugin.ts';
import type { Kind, KubeObject } from './kind.ts';
import type { OnApiEvent } from './shared-source.ts';
import type { Source } from './source.ts';

/** Which API server, and as whom. None of the two: the pod's own service account. */
export type ApiSettings = Pick<ApiClientOptions, 'kubeconfig' | 'master'>;

/** What a part of the process makes of its connection. */
export interface ApiUse {
  readonly log: Log;
  /** Told of each request, for metrics; the same function counts once, however often it is given. */
  readonly onRequest?: (request: RestRequest) => void;
}

/** An API server, as a part of the process has it. */
export interface ApiConnection extends ApiClients {
  /** All objects of a kind, watched. */
  source<T extends KubeObject>(kind: Kind<T>, onEvent?: OnApiEvent): Source<T>;
  /** After the sources have ended; once. */
  close(): Promise<void>;
}

/** Reads the settings, and opens no connection yet. Throws where they cannot be used. */
export type ConnectApi = (settings: ApiSettings, use: ApiUse) => Promise<ApiConnection>;

/** What of the process is the same for all connections. */
export interface ApiProcess {
  readonly clock: Clock;
  /** Numbers in [0, 1): jitter. */
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly runProgram: RunProgram;
}

/** Each that asks has a connection of its own. */
export function connectDirectly({ random, ...own }: ApiProcess): ConnectApi {
  return async (settings, use) => {
    const clients = await loadApiClients({ ...settings, ...own, ...use });
    const { client, sharing } = clients;
    const { clock } = own;
    const { log } = use;
    return {
      ...clients,
      source: (kind, onEvent) =>
        new ApiSource({ client, kind, clock, random, log, ...(onEvent && { onEvent }) }),
      close: async () => {
        await Promise.all([client.close(), sharing.close()]);
      },
    };
  };
}
