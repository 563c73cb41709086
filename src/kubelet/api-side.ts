import type { Clock } from '../clock.ts';
import { runProgram } from '../host/run-program.ts';
import { loadApiClient } from '../informer/api-client.ts';
import type { ApiClient, ApiWriter } from '../informer/api-client.ts';
import { ApiSource } from '../informer/api-source.ts';
import type { Kind, KubeObject } from '../informer/kind.ts';
import type { Source } from '../informer/source.ts';
import type { KubeletMetrics } from '../telemetry/kubelet-metrics.ts';
import { ObjectApi } from './api/object-api.ts';
import type { KubeletOptions } from './kubelet.ts';

/** The API server, as the parts of a kubelet see it. */
export interface ApiSide {
  readonly client: ApiClient & ApiWriter;
  /** For the many watches of single objects: they share a few connections. */
  readonly sharing: ApiClient;
  /** Single objects of a kind. */
  objects(apiVersion: string, resource: string): ObjectApi;
  /** All objects of a kind, watched. */
  source<T extends KubeObject>(kind: Kind<T>): Source<T>;
  close(): Promise<void>;
}

/** undefined: no kubeconfig is given, pods come from elsewhere. Opens no connection yet. */
export async function openApiSide(
  { config, clock, random, env, log }: KubeletOptions,
  nodeName: string,
  { restClient }: KubeletMetrics,
): Promise<ApiSide | undefined> {
  if (config.kubeconfig === '') return undefined;
  const { kubeconfig } = config;
  const onRequest = restClient.asked.bind(restClient);
  const options = { kubeconfig, log, clock, env, runProgram, onRequest };
  const client = await loadApiClient(options);
  const sharing = await loadApiClient({ ...options, shareConnections: true });
  log.info({ server: client.server, node: nodeName }, 'API server');
  return {
    client,
    sharing,
    objects: (apiVersion, resource) => objectApi(client, clock, apiVersion, resource),
    source: (kind) => new ApiSource({ client, kind, clock, random, log }),
    close: async () => {
      await Promise.all([client.close(), sharing.close()]);
    },
  };
}

function objectApi(
  client: ApiClient & ApiWriter,
  clock: Clock,
  apiVersion: string,
  resource: string,
): ObjectApi {
  return new ObjectApi(client, clock, { apiVersion, resource });
}
