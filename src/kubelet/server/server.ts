import { readFile } from 'node:fs/promises';
import type { Clock } from '../../clock.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import type { ApiWriter } from '../../informer/api-client.ts';
import type { Log } from '../../telemetry/log.ts';
import { Authentication } from './authentication.ts';
import { Authorization } from './authorization.ts';
import { KubeletRoutes, plainHealth } from './kubelet-routes.ts';
import type { KubeletRoutesOptions } from './kubelet-routes.ts';
import { KubeletListener } from './listener.ts';
import type { ListenerOptions } from './listener.ts';
import { PodRoutes } from './pod-routes.ts';
import type { PodRoutesOptions } from './pod-routes.ts';
import { keptServingPair } from './serving-certificate.ts';
import type { ServingPair } from './serving-certificate.ts';

/** Ports, and who is let in at them; the names in brackets are those of KubeletConfiguration. */
export interface ServerSettings {
  readonly address: string;
  /** undefined: `enableServer: false`. */
  readonly port: number | undefined;
  /** 0: none. */
  readonly readOnlyPort: number;
  readonly healthz: { readonly address: string; /** 0: none. */ readonly port: number };
  /** `tlsCertFile` and `tlsPrivateKeyFile`; undefined: a pair of our own is kept in `certFolder`. */
  readonly tls: { readonly certFile: string; readonly keyFile: string } | undefined;
  readonly certFolder: string;
  readonly clientCaFile: string | undefined;
  readonly anonymous: boolean;
  /** undefined: bearer tokens are not looked up (`authentication.webhook`). */
  readonly tokenTtlMs: number | undefined;
  readonly authorization:
    | { readonly mode: 'AlwaysAllow' }
    | { readonly mode: 'Webhook'; readonly allowTtlMs: number; readonly denyTtlMs: number };
  /** `enableDebuggingHandlers`. */
  readonly debugging: boolean;
  /** `streamingConnectionIdleTimeout`. */
  readonly streamIdleMs: number;
}

export interface KubeletServerOptions
  extends Omit<PodRoutesOptions, 'idleMs'>, Omit<KubeletRoutesOptions, 'pods' | 'debugging'> {
  readonly settings: ServerSettings;
  readonly nodeName: string;
  /** undefined: no API server, which a mode of `Webhook` needs. */
  readonly api: ApiWriter | undefined;
  readonly log: Log;
  readonly clock: Clock;
  readonly onRequest: ListenerOptions['onRequest'];
}

/** How often the files of certificates are looked at: they are renewed without a word to anybody. */
const lookEveryMs = 60_000;

/** All that listens for a kubelet: 10250, the read-only port and that of /healthz, each only where it was asked for. */
export class KubeletServer {
  readonly #options: KubeletServerOptions;
  readonly #stopping = new AbortController();
  readonly #listeners: KubeletListener[] = [];
  #watching: Promise<void> = Promise.resolve();
  #main: KubeletListener | undefined;
  #healthz: KubeletListener | undefined;

  constructor(options: KubeletServerOptions) {
    this.#options = options;
  }

  /** The port of the main listener; undefined: there is none. */
  get port(): number | undefined {
    return this.#main?.port;
  }

  get healthzPort(): number | undefined {
    return this.#healthz?.port;
  }

  /** Rejects where a port is taken, or the settings cannot be met; nothing listens then. */
  async start(): Promise<void> {
    const { address, port, readOnlyPort, healthz } = this.#options.settings;
    try {
      if (healthz.port !== 0)
        this.#healthz = await this.#listen({ ...healthz, routes: plainHealth });
      if (readOnlyPort !== 0) {
        await this.#listen({ address, port: readOnlyPort, routes: this.#routes(false) });
      }
      if (port !== undefined) {
        const secrets = await this.#secrets();
        const guarded = { ...secrets, ...this.#guards() };
        this.#main = await this.#listen({ address, port, routes: this.#routes(true), guarded });
        this.#watching = this.#watch(this.#main, secrets);
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#listeners.map(async (each) => each.stop()));
    await this.#watching;
  }

  async #listen(
    options: Pick<ListenerOptions, 'address' | 'port' | 'routes' | 'guarded'>,
  ): Promise<KubeletListener> {
    const { log, onRequest } = this.#options;
    const listener = new KubeletListener({ ...options, log, onRequest });
    await listener.start();
    this.#listeners.push(listener);
    return listener;
  }

  #routes(isMain: boolean): KubeletRoutes {
    const { settings } = this.#options;
    const pods = isMain
      ? new PodRoutes({ ...this.#options, idleMs: settings.streamIdleMs })
      : undefined;
    return new KubeletRoutes({ ...this.#options, pods, debugging: settings.debugging });
  }

  #guards(): { authentication: Authentication; authorization: Authorization } {
    const { api, clock, nodeName, settings } = this.#options;
    const { tokenTtlMs, anonymous, authorization } = settings;
    const webhook = tokenTtlMs !== undefined && api && { api, cacheTtlMs: tokenTtlMs };
    const authentication = new Authentication({
      anonymous,
      clock,
      ...(webhook ? { webhook } : {}),
    });
    if (authorization.mode === 'AlwaysAllow') {
      return { authentication, authorization: new Authorization(authorization) };
    }
    if (api === undefined) {
      throw new SwitchyardError('usage', 'authorization.mode Webhook needs an API server to ask', {
        hint: 'give --kubeconfig, or set authorization.mode to AlwaysAllow and anonymous.enabled to false',
      });
    }
    const webhooks = { ...authorization, api, nodeName, clock };
    return { authentication, authorization: new Authorization(webhooks) };
  }

  async #secrets(): Promise<Secrets> {
    const { settings, nodeName, ownAddresses, clock } = this.#options;
    const { tls, certFolder, clientCaFile } = settings;
    const clientCa =
      clientCaFile === undefined ? undefined : await read('clientCAFile', clientCaFile);
    if (tls === undefined) {
      const names = [nodeName, ...ownAddresses()];
      return { clientCa, pair: await keptServingPair(certFolder, names, clock.now()) };
    }
    const cert = await read('tlsCertFile', tls.certFile);
    return { clientCa, pair: { cert, key: await read('tlsPrivateKeyFile', tls.keyFile) } };
  }

  async #watch(listener: KubeletListener, first: Secrets): Promise<void> {
    const { clock, log } = this.#options;
    let used = JSON.stringify(first);
    while (!this.#stopping.signal.aborted) {
      await clock.sleep(lookEveryMs, this.#stopping.signal);
      if (this.#stopping.signal.aborted) return;
      try {
        const now = await this.#secrets();
        if (JSON.stringify(now) === used) continue;
        listener.renew(now.pair, now.clientCa);
        used = JSON.stringify(now);
        log.info({}, 'takes up other certificates');
      } catch (error) {
        log.warn({}, `certificates could not be taken up: ${errorText(error)}`);
      }
    }
  }
}

interface Secrets {
  readonly pair: ServingPair;
  readonly clientCa: string | undefined;
}

async function read(field: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new SwitchyardError('usage', `${field}: ${errorText(cause)}`, { cause });
  }
}
