import type { Clock } from '../../clock.ts';
import type { ApiClient, ApiWriter } from '../../informer/api-client.ts';
import type { ApiConnection } from '../../informer/api-connection.ts';
import type { KubeletMetrics } from '../../telemetry/kubelet-metrics.ts';
import { ObjectApi } from '../api/object-api.ts';
import type { KubeletOptions } from './kubelet-options.ts';

/** The API server, as the parts of a kubelet see it. */
export interface ApiSide extends ApiConnection {
  /** Single objects of a kind. */
  objects(apiVersion: string, resource: string): ObjectApi;
}

/** undefined: no kubeconfig is given, pods come from elsewhere. Opens no connection yet. */
export async function openApiSide(
  { config, connect, clock, log }: KubeletOptions,
  nodeName: string,
  { restClient }: KubeletMetrics,
): Promise<ApiSide | undefined> {
  if (config.kubeconfig === '') return undefined;
  const { kubeconfig } = config;
  const connection = await connect({ kubeconfig }, { log, onRequest: restClient.asked });
  const { client } = connection;
  log.info({ server: client.server, node: nodeName }, 'API server');
  return {
    ...connection,
    objects: (apiVersion, resource) => objectApi(client, clock, apiVersion, resource),
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
