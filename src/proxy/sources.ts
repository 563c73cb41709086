import type { Clock } from '../clock.ts';
import type { SourceConfig } from '../config/proxy-config.ts';
import type { ConnectApi } from '../informer/api-connection.ts';
import { countObjects } from '../informer/api-count.ts';
import { ApiEventSink } from '../informer/api-events.ts';
import type { Kind, KubeObject } from '../informer/kind.ts';
import { ManifestWatch } from '../informer/manifest-watch.ts';
import type { Source } from '../informer/source.ts';
import { UrlWatch } from '../informer/url-watch.ts';
import type { EventSink } from '../telemetry/events.ts';
import type { Log } from '../telemetry/log.ts';
import type { RestRequest } from '../telemetry/rest-client-metrics.ts';
import { SourceTroubles } from './admin/source-troubles.ts';
import type { ListStatus } from './admin/status-document.ts';

/** Where all kinds of objects come from. */
export interface ObjectSources {
  /** URL of the API server; undefined where objects come from elsewhere. */
  readonly server: string | undefined;
  source<T extends KubeObject>(kind: Kind<T>): Source<T>;
  /** How many of a kind there are, cheaply; left out where who asks for the kind is told of each change anyway. */
  count?(kind: Kind<KubeObject>, signal: AbortSignal): Promise<number>;
  /** Where Events on the objects go; undefined where objects come from elsewhere. */
  readonly events: EventSink | undefined;
  /** Why nothing new is heard of a kind, by the name of its resource; left out where there is no connection that could break. */
  trouble?(resource: string): ListStatus['trouble'];
  /** Ends connections; after the sources have ended. */
  close(): Promise<void>;
}

export interface SourcesOptions {
  readonly config: SourceConfig;
  /** Every kind that will be asked for. */
  readonly kinds: readonly Kind<KubeObject>[];
  /** For those of an API server. */
  readonly connect: ConnectApi;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** Told of each request to the API server; for metrics. */
  readonly onRequest?: (request: RestRequest) => void;
}

const urlIntervalMs = 5000;
/** What all sources but the API server have in common. */
const elsewhere = { server: undefined, events: undefined, close: async (): Promise<void> => {} };

/** Opens the configured source; connections are made when the sources run. */
export async function openSources(options: SourcesOptions): Promise<ObjectSources> {
  const { config, kinds, clock, log, env } = options;
  switch (config.kind) {
    case 'files': {
      const watch = new ManifestWatch({ paths: config.paths, kinds, clock, log });
      return { ...elsewhere, source: (kind) => watch.source(kind) };
    }
    case 'url': {
      const { url } = config;
      const watch = new UrlWatch({ url, intervalMs: urlIntervalMs, kinds, clock, log, env });
      return { ...elsewhere, source: (kind) => watch.source(kind) };
    }
    case 'kubernetes':
      return openCluster(options, config.kubeconfig, config.master);
    default:
      return config satisfies never;
  }
}

async function openCluster(
  options: SourcesOptions,
  kubeconfig: string,
  master: string,
): Promise<ObjectSources> {
  const { connect, clock, log, onRequest } = options;
  const settings = {
    ...(kubeconfig === '' ? {} : { kubeconfig }),
    ...(master === '' ? {} : { master }),
  };
  const connection = await connect(settings, { log, ...(onRequest && { onRequest }) });
  const { client } = connection;
  log.info({ server: client.server }, 'objects come from the API server');
  const troubles = new SourceTroubles(clock);
  return {
    server: client.server,
    source: (kind) =>
      connection.source(kind, (event) => {
        troubles.heard(kind.resource, event);
      }),
    count: async (kind, signal) => countObjects(client, kind, clock, signal),
    trouble: (resource) => troubles.of(resource),
    events: new ApiEventSink(client, clock),
    close: async () => connection.close(),
  };
}
