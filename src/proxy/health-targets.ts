import type { NodePortAddresses } from '../graph/node-context.ts';
import type { Family } from '../ip/address.ts';
import type { ServiceName, ServicePort } from '../services/service-port.ts';
import type { ServiceHealthTarget } from './service-health.ts';

/**
 * The services with a healthCheckNodePort, each with its distinct addresses of ready endpoints on
 * this node over all its ports. Terminating ones do not count, so that the load balancer moves on
 * while they still serve what arrives.
 */
export function healthTargets(
  servicePorts: Iterable<ServicePort>,
): ReadonlyMap<ServiceName, ServiceHealthTarget> {
  const found = new Map<ServiceName, { readonly port: number; readonly addresses: Set<string> }>();
  for (const servicePort of servicePorts) {
    const port = servicePort.healthCheckNodePort;
    if (port === 0) continue;
    const target = found.get(servicePort.service) ?? { port, addresses: new Set() };
    for (const address of localReadyAddresses(servicePort)) target.addresses.add(address);
    found.set(servicePort.service, target);
  }
  return new Map(
    found
      .entries()
      .map(([service, { port, addresses }]) => [service, { port, localEndpoints: addresses.size }]),
  );
}

function localReadyAddresses({ endpoints }: ServicePort): readonly string[] {
  const skipped = endpoints.skipped.map(({ endpoint }) => endpoint);
  return [...(endpoints.local ?? []), ...(endpoints.cluster ?? []), ...skipped]
    .filter(({ local, ready }) => local && ready)
    .map(({ address }) => address);
}

/** Where health checks are answered: on the family's wildcard, or on the node-port addresses. */
export function healthAddresses(family: Family, addresses: NodePortAddresses): readonly string[] {
  if (addresses.kind === 'list') return addresses.addresses;
  return [family === 'ipv4' ? '0.0.0.0' : '::'];
}
