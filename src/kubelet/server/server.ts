import { readFile } from 'node:fs/promises';
import type { Clock } from '../../clock.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import type { BindConfig } from '../../config/proxy-config.ts';
import type { KubeletServerConfig } from '../../config/kubelet-config.ts';
import type { ApiWriter } from '../../informer/api-client.ts';
import { Wakeup } from '../../informer/wakeup.ts';
import type { Log } from '../../telemetry/log.ts';
import { Authentication } from './access/authentication.ts';
import { Authorization } from './access/authorization.ts';
import { KubeletRoutes, plainHealth } from './kubelet-routes.ts';
import type { KubeletRoutesOptions, PodHandlers } from './kubelet-routes.ts';
import { KubeletListener } from './listener.ts';
import type { Guarded, ListenerOptions } from './listener.ts';
import { Refusals } from './refusals.ts';
import type { RefusalsOptions } from './refusals.ts';
import { FigureRoutes } from './figures/figure-routes.ts';
import type { FigureRoutesOptions } from './figures/figure-routes.ts';
import { PodLogs } from './logs/pod-logs.ts';
import type { PodLogsOptions } from './logs/pod-logs.ts';
import { PodStreams } from './streams/pod-streams.ts';
import type { PodStreamsOptions } from './streams/pod-streams.ts';
import { opensslName } from './access/cipher-name.ts';
import { keptServingPair } from './access/serving-certificate.ts';
import type { ServingPair } from './access/serving-certificate.ts';
import { SystemLogs } from './logs/system-logs.ts';

export interface KubeletServerOptions
  extends
    Omit<PodLogsOptions, 'runtime'>,
    Omit<PodStreamsOptions, 'idleMs' | 'runtime'>,
    FigureRoutesOptions,
    Omit<KubeletRoutesOptions, 'pods' | 'debugging' | 'figures'> {
  readonly runtime: PodLogsOptions['runtime'] & PodStreamsOptions['runtime'];
  /** Where the node's own logs are. */
  readonly systemLogsFolder: string;
  readonly config: KubeletServerConfig;
  /** Where a pair of our own is kept, where the configuration names none. */
  readonly certFolder: string;
  /** One that the cluster has signed; it counts more than that of our own. */
  readonly servingPair?: () => Promise<ServingPair | undefined>;
  readonly nodeName: string;
  /** undefined: no API server, which a mode of `Webhook` needs. */
  readonly api: ApiWriter | undefined;
  readonly log: Log;
  readonly clock: Clock;
  readonly onRequest: ListenerOptions['onRequest'];
  /** Counts each client that is sent away before it is known. */
  readonly onRefused: RefusalsOptions['counted'];
}

/** How often the files of certificates are looked at: they are renewed without a word to anybody. */
const lookEveryMs = 60_000;

/** All that listens for a kubelet: 10250, the read-only port and that of /healthz, each only where it was asked for. */
export class KubeletServer {
  readonly #options: KubeletServerOptions;
  readonly #stopping = new AbortController();
  readonly #wakeup = new Wakeup();
  readonly #refusals: Refusals;
  readonly #listeners: KubeletListener[] = [];
  #watching: Promise<void> = Promise.resolve();
  #main: KubeletListener | undefined;
  #healthz: KubeletListener | undefined;

  constructor(options: KubeletServerOptions) {
    this.#options = options;
    const { clock, log, onRefused } = options;
    this.#refusals = new Refusals({ clock, log, counted: onRefused });
  }

  /** Connections to all ports now. */
  get connections(): KubeletListener['connections'] {
    const all = this.#listeners.map(({ connections }) => connections);
    return {
      known: all.reduce((sum, { known }) => sum + known, 0),
      strangers: all.reduce((sum, { strangers }) => sum + strangers, 0),
    };
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
    const { bind, readOnly, healthz } = this.#options.config;
    try {
      const plain = plainHealth(this.#options.health);
      if (healthz) this.#healthz = await this.#listen(healthz, { routes: plain });
      if (readOnly) await this.#listen(readOnly, { routes: this.#routes(false) });
      if (bind) {
        const secrets = await this.#secrets();
        const guarded = { ...secrets, ...this.#tls(), ...this.#guards() };
        this.#main = await this.#listen(bind, { routes: this.#routes(true), guarded });
        this.#watching = this.#watch(this.#main, secrets);
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Another certificate may be there. */
  lookAgain(): void {
    this.#wakeup.ring();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#listeners.map(async (each) => each.stop()));
    await this.#watching;
  }

  async #listen(
    { address, port }: BindConfig,
    options: Pick<ListenerOptions, 'routes' | 'guarded'>,
  ): Promise<KubeletListener> {
    const { log, clock, onRequest } = this.#options;
    const listener = new KubeletListener({
      ...options,
      address,
      port,
      log,
      clock,
      onRequest,
      onRefused: (...refusal) => this.#refusals.add(...refusal),
    });
    await listener.start();
    this.#listeners.push(listener);
    return listener;
  }

  #routes(isMain: boolean): KubeletRoutes {
    const { debuggingHandlers } = this.#options.config;
    return new KubeletRoutes({
      ...this.#options,
      figures: new FigureRoutes(this.#options),
      pods: isMain ? this.#podHandlers() : undefined,
      debugging: debuggingHandlers,
    });
  }

  #podHandlers(): PodHandlers {
    const { config, systemLogsFolder } = this.#options;
    return {
      logs: new PodLogs(this.#options),
      streams: new PodStreams({ ...this.#options, idleMs: config.streamIdleMs }),
      systemLogs: config.systemLogs ? new SystemLogs(systemLogsFolder) : undefined,
    };
  }

  #tls(): Pick<Guarded, 'minVersion' | 'ciphers'> {
    const { minVersion, cipherSuites } = this.#options.config;
    return { minVersion, ciphers: cipherSuites.map(opensslName) };
  }

  #guards(): { authentication: Authentication; authorization: Authorization } {
    const { api, clock, nodeName, config } = this.#options;
    const { tokenReview, tokenTtlMs, anonymous, allowedTtlMs, deniedTtlMs } = config;
    const webhook = tokenReview && api ? { webhook: { api, cacheTtlMs: tokenTtlMs } } : {};
    const authentication = new Authentication({ anonymous, clock, ...webhook });
    if (config.authorization === 'AlwaysAllow') {
      return { authentication, authorization: new Authorization({ mode: 'AlwaysAllow' }) };
    }
    if (api === undefined) {
      throw new SwitchyardError('usage', 'authorization.mode Webhook needs an API server to ask', {
        hint: 'give --kubeconfig, or set authorization.mode to AlwaysAllow and anonymous.enabled to false',
      });
    }
    const ttls = { allowTtlMs: allowedTtlMs, denyTtlMs: deniedTtlMs };
    const authorization = new Authorization({ mode: 'Webhook', ...ttls, api, nodeName, clock });
    return { authentication, authorization };
  }

  async #secrets(): Promise<Secrets> {
    const { config, certFolder, nodeName, ownAddresses, clock } = this.#options;
    const { certFile, keyFile, clientCaFile } = config;
    const clientCa = clientCaFile === '' ? undefined : await read('clientCAFile', clientCaFile);
    if (certFile === '') {
      const pair = await this.#options.servingPair?.();
      if (pair !== undefined) return { clientCa, pair: { cert: pair.cert, key: pair.key } };
      const names = [nodeName, ...ownAddresses()];
      return { clientCa, pair: await keptServingPair(certFolder, names, clock.now()) };
    }
    const cert = await read('tlsCertFile', certFile);
    return { clientCa, pair: { cert, key: await read('tlsPrivateKeyFile', keyFile) } };
  }

  async #watch(listener: KubeletListener, first: Secrets): Promise<void> {
    const { clock, log } = this.#options;
    let used = JSON.stringify(first);
    while (!this.#stopping.signal.aborted) {
      await this.#wakeup.wait(clock, lookEveryMs, this.#stopping.signal);
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
