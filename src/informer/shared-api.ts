import { resolve } from 'node:path';
import type { RestRequest } from '../telemetry/rest-client-metrics.ts';
import type { ApiConnection, ApiSettings, ApiUse, ConnectApi } from './api-connection.ts';
import { resourcePath } from './api-resource.ts';
import type { Kind, KubeObject } from './kind.ts';
import { narrowedSource } from './narrowed-source.ts';
import { SharedSource } from './shared-source.ts';
import type { OnApiEvent } from './shared-source.ts';
import type { Source } from './source.ts';

type OnRequest = (request: RestRequest) => void;

/**
 * One connection to an API server for several parts of the process. It is there while any of them has it. Kinds that are parts of the same
 * wider one are watched once, and each is told its part. Who asks for another server, or as somebody else, gets a connection of its own.
 */
export class SharedApi {
  readonly #settings: ApiSettings;
  readonly #connect: ConnectApi;
  #opened: OpenedApi | undefined;

  constructor(settings: ApiSettings, connect: ConnectApi) {
    this.#settings = settings;
    this.#connect = connect;
  }

  /** Whoever asks first says where its failures are logged. */
  readonly connect: ConnectApi = async (settings, use) => {
    if (!isSame(settings, this.#settings)) return this.#connect(settings, use);
    const opened = (this.#opened ??= new OpenedApi(settings, use, this.#connect));
    const leave = opened.join(use.onRequest);
    const close = async (): Promise<void> => {
      if (leave() > 0) return;
      if (this.#opened === opened) this.#opened = undefined;
      await (await opened.connection).close();
    };
    try {
      const direct = await opened.connection;
      const source: ApiConnection['source'] = (kind, onEvent) =>
        opened.source(direct, kind, onEvent);
      return { ...direct, source, close };
    } catch (error) {
      if (this.#opened === opened) this.#opened = undefined;
      throw error;
    }
  };
}

/** A connection with all who have it. */
class OpenedApi {
  readonly connection: Promise<ApiConnection>;
  readonly #watches: {
    readonly kind: Kind<KubeObject>;
    readonly shared: SharedSource<KubeObject>;
  }[] = [];
  /** One for each part that has the connection. */
  readonly #parts: { readonly onRequest: OnRequest | undefined }[] = [];

  constructor(settings: ApiSettings, { log }: ApiUse, connect: ConnectApi) {
    const onRequest: OnRequest = (request) => {
      for (const tell of new Set(this.#parts.map((part) => part.onRequest))) tell?.(request);
    };
    this.connection = connect(settings, { log, onRequest });
  }

  /** Gives what ends it, and says then how many are left. */
  join(onRequest: OnRequest | undefined): () => number {
    const part = { onRequest };
    this.#parts.push(part);
    return () => {
      const at = this.#parts.indexOf(part);
      if (at >= 0) this.#parts.splice(at, 1);
      return this.#parts.length;
    };
  }

  source<T extends KubeObject>(
    direct: ApiConnection,
    kind: Kind<T>,
    onEvent: OnApiEvent | undefined,
  ): Source<T> {
    const { within } = kind;
    if (within === undefined) return direct.source(kind, onEvent);
    const known = this.#watches.find((each) => isSameWatch(each.kind, within.kind));
    const shared = known?.shared ?? this.#share(direct, within.kind);
    return narrowedSource(shared.source(onEvent), within.narrow);
  }

  #share(direct: ApiConnection, kind: Kind<KubeObject>): SharedSource<KubeObject> {
    const shared = new SharedSource((onEvent) => direct.source(kind, onEvent));
    this.#watches.push({ kind, shared });
    return shared;
  }
}

function isSame(a: ApiSettings, b: ApiSettings): boolean {
  return pathOf(a) === pathOf(b) && (a.master ?? '') === (b.master ?? '');
}

function pathOf({ kubeconfig = '' }: ApiSettings): string {
  return kubeconfig === '' ? '' : resolve(kubeconfig);
}

/** The same objects, shown in the same way. */
function isSameWatch(a: Kind<KubeObject>, b: Kind<KubeObject>): boolean {
  return (
    resourcePath(a) === resourcePath(b) &&
    a.labelSelector === b.labelSelector &&
    a.fieldSelector === b.fieldSelector &&
    a.slim === b.slim
  );
}
