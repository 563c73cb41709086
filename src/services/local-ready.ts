import type { ServiceName, ServicePort } from './service-port.ts';

/** A Service with a health check node port, and how many distinct local endpoints are ready for it. */
export interface LocalReady {
  readonly service: ServiceName;
  readonly uid: string;
  readonly port: number;
  readonly endpoints: number;
}

/**
 * What the health check servers answer: by Service, the distinct addresses of local, ready endpoints
 * over all its ports. Terminating ones do not count, so that a balancer stops sending while they
 * still serve. Sorted by name.
 */
export function localReadyEndpoints(ports: Iterable<ServicePort>): readonly LocalReady[] {
  const found = new Map<ServiceName, Found>();
  for (const { service, uid, healthCheckNodePort: port, endpoints } of ports) {
    if (port === 0) continue;
    const entry = found.get(service) ?? { uid, port, addresses: new Set<string>() };
    found.set(service, entry);
    for (const { address } of endpoints.localReady) entry.addresses.add(address);
  }
  return [...found]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([service, { uid, port, addresses }]) => ({
      service,
      uid,
      port,
      endpoints: addresses.size,
    }));
}

interface Found {
  readonly uid: string;
  readonly port: number;
  readonly addresses: Set<string>;
}
