import { Turns } from '../backends/turns.ts';
import type { Clock } from '../clock.ts';
import { errorText } from '../error.ts';
import type { RuleGraph } from '../graph/rule-graph.ts';
import { localReadyEndpoints } from '../services/local-ready.ts';
import type { ServiceName, ServicePort } from '../services/service-port.ts';
import { listen } from '../telemetry/http-server.ts';
import type { HttpHandler, Listening, ListenOptions } from '../telemetry/http-server.ts';
import type { Log } from '../telemetry/log.ts';
import type { FailedHealthPort } from './service-events.ts';

/** A service with a healthCheckNodePort, and its distinct ready endpoints on this node. */
export interface ServiceHealthTarget {
  readonly uid: string;
  readonly port: number;
  readonly localEndpoints: number;
}

export interface ServiceHealthOptions {
  /** Whether the proxy itself is healthy (as /livez; the node does not matter here). */
  readonly proxyHealthy: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of a port that cannot be listened on: once, and again when the reason is another. */
  readonly onFailed?: ((failed: FailedHealthPort) => void) | undefined;
  /** Told how many servers answer, and how many cannot, when that may have changed. */
  readonly onChanged?: ((ports: HealthPorts) => void) | undefined;
  /** Binds a port; default: a real socket. */
  readonly listen?: (options: ListenOptions, handler: HttpHandler) => Promise<Listening>;
}

/** Servers, one for each Service and address. */
export interface HealthPorts {
  readonly listening: number;
  readonly failed: number;
}

interface Entry {
  readonly port: number;
  uid: string;
  localEndpoints: number;
  /** By address. */
  readonly listeners: Map<string, Listening>;
  /** By address: why it cannot be bound. Told once, though it is tried again and again. */
  readonly failures: Map<string, string>;
}

/** Between tries where a port is taken, kube-proxy's for its other servers. */
const retryMs = 5000;

/**
 * The servers load balancers ask whether this node has endpoints of a service (KEP-1669): one
 * port a service. A port that cannot be bound is told once, and tried again with each sync and every 5 s.
 */
export class ServiceHealth {
  readonly #options: ServiceHealthOptions;
  readonly #entries = new Map<ServiceName, Entry>();
  readonly #turns = new Turns();
  readonly #stop = new AbortController();
  #addresses: readonly string[] = [];
  #retrying: Promise<void> | undefined;

  constructor(options: ServiceHealthOptions) {
    this.#options = options;
  }

  /**
   * Makes the servers agree with `targets`: opens, moves, closes, and sets the counts. They answer
   * on `addresses`: the family's wildcard, or each node-port address.
   */
  async sync(
    targets: ReadonlyMap<ServiceName, ServiceHealthTarget>,
    addresses: readonly string[],
  ): Promise<void> {
    await this.#turns.take(async () => this.#sync(targets, addresses));
    if (this.#ports().failed > 0) this.#retrying ??= this.#retry();
  }

  /** Closes every server. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#retrying;
    await this.sync(new Map(), []);
  }

  async #sync(
    targets: ReadonlyMap<ServiceName, ServiceHealthTarget>,
    addresses: readonly string[],
  ): Promise<void> {
    this.#addresses = addresses;
    for (const [service, entry] of this.#entries) {
      if (targets.get(service)?.port === entry.port) continue;
      this.#entries.delete(service);
      await closeAll(entry);
    }
    for (const [service, target] of targets) {
      const entry = this.#entries.get(service) ?? {
        ...target,
        listeners: new Map(),
        failures: new Map(),
      };
      entry.uid = target.uid;
      entry.localEndpoints = target.localEndpoints;
      this.#entries.set(service, entry);
    }
    await this.#bindAll();
  }

  /** As long as a port is taken: whoever has it may let go of it without any change of a Service. */
  async #retry(): Promise<void> {
    const { clock } = this.#options;
    while (this.#ports().failed > 0) {
      await clock.sleep(retryMs, this.#stop.signal);
      if (this.#stop.signal.aborted) break;
      await this.#turns.take(async () => this.#bindAll());
    }
    this.#retrying = undefined;
  }

  async #bindAll(): Promise<void> {
    for (const [service, entry] of this.#entries) await this.#bind(service, entry);
    this.#options.onChanged?.(this.#ports());
  }

  #ports(): HealthPorts {
    let [listening, failed] = [0, 0];
    for (const { listeners, failures } of this.#entries.values()) {
      listening += listeners.size;
      failed += failures.size;
    }
    return { listening, failed };
  }

  async #bind(service: ServiceName, entry: Entry): Promise<void> {
    const addresses = this.#addresses;
    for (const [address, listening] of entry.listeners) {
      if (addresses.includes(address)) continue;
      entry.listeners.delete(address);
      await listening.close();
    }
    for (const address of entry.failures.keys())
      if (!addresses.includes(address)) entry.failures.delete(address);
    for (const address of addresses) {
      if (entry.listeners.has(address)) continue;
      const bind = { address, port: entry.port, ipv6Only: true };
      try {
        const open = this.#options.listen ?? listen;
        entry.listeners.set(address, await open(bind, this.#handler(service, entry)));
        if (entry.failures.delete(address)) this.#recovered(service, entry, address);
      } catch (error) {
        this.#failed(service, entry, address, errorText(error));
      }
    }
  }

  #failed(service: ServiceName, entry: Entry, address: string, reason: string): void {
    const { uid, port, failures } = entry;
    if (failures.get(address) === reason) return;
    failures.set(address, reason);
    const { log, onFailed } = this.#options;
    onFailed?.({ service, uid, port, reason });
    log.error(
      { service, address, port, reason: 'FailedToStartServiceHealthcheck', retryMs },
      `${service}: cannot listen on its healthCheckNodePort ${port}: ${reason}; trying again`,
    );
  }

  #recovered(service: ServiceName, { port }: Entry, address: string): void {
    this.#options.log.info(
      { service, address, port },
      `${service}: listens on its healthCheckNodePort ${port} now`,
    );
  }

  #handler(service: ServiceName, entry: Entry): HttpHandler {
    const [namespace, name] = service.split('/');
    return (_request, response) => {
      const healthy = this.#options.proxyHealthy();
      const { localEndpoints } = entry;
      response.writeHead(localEndpoints > 0 && healthy ? 200 : 503, {
        'Content-Type': 'application/json',
        'X-Content-Type-Options': 'nosniff',
        'X-Load-Balancing-Endpoint-Weight': String(localEndpoints),
      });
      const body = { service: { namespace, name }, localEndpoints, serviceProxyHealthy: healthy };
      response.end(JSON.stringify(body, undefined, '\t'));
    };
  }
}

/** The Services that hold their health check port; who lost it is reported with the other conflicts. */
export function healthTargets(
  servicePorts: Iterable<ServicePort>,
  { healthCheckPorts }: Pick<RuleGraph, 'healthCheckPorts'>,
): ReadonlyMap<ServiceName, ServiceHealthTarget> {
  const targets = new Map<ServiceName, ServiceHealthTarget>();
  for (const { service, uid, port, endpoints } of localReadyEndpoints(servicePorts)) {
    if (healthCheckPorts.get(port)?.service !== service) continue;
    targets.set(service, { uid, port, localEndpoints: endpoints });
  }
  return targets;
}

async function closeAll(entry: Entry): Promise<void> {
  await Promise.all([...entry.listeners.values()].map(async (each) => each.close()));
  entry.listeners.clear();
}
