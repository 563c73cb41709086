import { errorText } from '../error.ts';
import type { RuleGraph } from '../graph/rule-graph.ts';
import { localReadyEndpoints } from '../services/local-ready.ts';
import type { ServiceName, ServicePort } from '../services/service-port.ts';
import { listen } from '../telemetry/http-server.ts';
import type { HttpHandler, Listening, ListenOptions } from '../telemetry/http-server.ts';
import type { Log } from '../telemetry/log.ts';

/** A service with a healthCheckNodePort, and its distinct ready endpoints on this node. */
export interface ServiceHealthTarget {
  readonly port: number;
  readonly localEndpoints: number;
}

export interface ServiceHealthOptions {
  /** Whether the proxy itself is healthy (as /livez; the node does not matter here). */
  readonly proxyHealthy: () => boolean;
  readonly log: Log;
  /** Binds a port; default: a real socket. */
  readonly listen?: (options: ListenOptions, handler: HttpHandler) => Promise<Listening>;
}

interface Entry {
  readonly port: number;
  localEndpoints: number;
  /** By address. */
  readonly listeners: Map<string, Listening>;
  /** By address: why it cannot be bound. Told once, though each sync tries again. */
  readonly failures: Map<string, string>;
}

/**
 * The servers load balancers ask whether this node has endpoints of a service (KEP-1669): one
 * port a service. A port that cannot be bound is told once and tried again with each sync.
 */
export class ServiceHealth {
  readonly #options: ServiceHealthOptions;
  readonly #entries = new Map<ServiceName, Entry>();

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
      entry.localEndpoints = target.localEndpoints;
      this.#entries.set(service, entry);
      await this.#bind(service, entry, addresses);
    }
  }

  /** Closes every server. */
  async close(): Promise<void> {
    await this.sync(new Map(), []);
  }

  async #bind(service: ServiceName, entry: Entry, addresses: readonly string[]): Promise<void> {
    for (const [address, listening] of entry.listeners) {
      if (addresses.includes(address)) continue;
      entry.listeners.delete(address);
      await listening.close();
    }
    for (const address of addresses) {
      if (entry.listeners.has(address)) continue;
      const bind = { address, port: entry.port, ipv6Only: true };
      try {
        const open = this.#options.listen ?? listen;
        entry.listeners.set(address, await open(bind, this.#handler(service, entry)));
        entry.failures.delete(address);
      } catch (error) {
        this.#failed(service, entry, address, errorText(error));
      }
    }
  }

  #failed(service: ServiceName, { port, failures }: Entry, address: string, why: string): void {
    if (failures.get(address) === why) return;
    failures.set(address, why);
    this.#options.log.error(
      { service, address, port, reason: 'FailedToStartServiceHealthcheck' },
      `${service}: cannot listen on its healthCheckNodePort ${port}: ${why}; each sync tries again`,
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
      response.end(`${JSON.stringify(body, undefined, '\t')}\n`);
    };
  }
}

/** The Services that hold their health check port; who lost it is reported with the other conflicts. */
export function healthTargets(
  servicePorts: Iterable<ServicePort>,
  { healthCheckPorts }: Pick<RuleGraph, 'healthCheckPorts'>,
): ReadonlyMap<ServiceName, ServiceHealthTarget> {
  const targets = new Map<ServiceName, ServiceHealthTarget>();
  for (const { service, port, endpoints } of localReadyEndpoints(servicePorts)) {
    if (healthCheckPorts.get(port)?.service !== service) continue;
    targets.set(service, { port, localEndpoints: endpoints });
  }
  return targets;
}

async function closeAll(entry: Entry): Promise<void> {
  await Promise.all([...entry.listeners.values()].map(async (each) => each.close()));
  entry.listeners.clear();
}
