import { isIPv6 } from 'node:net';

import { within } from '../../informer/kind.ts';
import type { Kind } from '../../informer/kind.ts';
import type { ServiceObject, ServiceObjectPort } from '../../services/objects.ts';
import { anyServiceKind } from '../../services/service-kind.ts';
import type { EnvValue } from '../ports/environment.ts';

/** What the variables of a service are made of. */
export type LinkedService = Pick<ServiceObject, 'meta' | 'clusterIP' | 'ports'>;

/** Services as pods see them: those of other proxies are among them, and less is kept of each. */
export const linkedServiceKind: Kind<LinkedService> = {
  ...anyServiceKind,
  within: within(anyServiceKind, (service) => service),
  slim: (raw) => {
    const { object, problems } = anyServiceKind.slim(raw);
    if (object === undefined) return { object, problems };
    const { meta, clusterIP, ports } = object;
    return { object: { meta, clusterIP, ports }, problems };
  },
};

/**
 * The Docker-link compatible variables that a container of this namespace sees (Kubernetes: Service, Environment variables), sorted by
 * service and then in the order in which they are listed there.
 */
export function serviceVariables(
  services: Iterable<LinkedService>,
  namespace: string,
  enableServiceLinks: boolean,
): readonly EnvValue[] {
  return linkedServices(services, namespace, enableServiceLinks)
    .toSorted((a, b) => (a.meta.name < b.meta.name ? -1 : 1))
    .flatMap(variablesOf);
}

/** `default/kubernetes` is there for all, unless the namespace has a `kubernetes` of its own. */
function linkedServices(
  services: Iterable<LinkedService>,
  namespace: string,
  enableServiceLinks: boolean,
): readonly LinkedService[] {
  const found = new Map<string, LinkedService>();
  for (const service of services) {
    if (!isEligible(service)) continue;
    const { meta } = service;
    const isOwn = enableServiceLinks && meta.namespace === namespace;
    const isMaster = meta.namespace === 'default' && meta.name === 'kubernetes';
    if (isOwn || (isMaster && !found.has(meta.name))) found.set(meta.name, service);
  }
  return [...found.values()];
}

function isEligible({ clusterIP, ports }: LinkedService): boolean {
  return clusterIP !== '' && clusterIP !== 'None' && ports.length > 0;
}

function variablesOf({ meta, clusterIP, ports }: LinkedService): readonly EnvValue[] {
  const prefix = upper(meta.name);
  const [first] = ports;
  if (first === undefined) return [];
  const named = ports.filter(({ name }) => name !== '');
  return [
    { name: `${prefix}_SERVICE_HOST`, value: clusterIP },
    { name: `${prefix}_SERVICE_PORT`, value: String(first.port) },
    ...named.map(({ name, port }) => ({
      name: `${prefix}_SERVICE_PORT_${upper(name)}`,
      value: String(port),
    })),
    { name: `${prefix}_PORT`, value: urlOf(clusterIP, first) },
    ...ports.flatMap((port) => linkOf(prefix, clusterIP, port)),
  ];
}

function linkOf(prefix: string, clusterIP: string, port: ServiceObjectPort): readonly EnvValue[] {
  const link = `${prefix}_PORT_${port.port}_${port.protocol.toUpperCase()}`;
  return [
    { name: link, value: urlOf(clusterIP, port) },
    { name: `${link}_PROTO`, value: port.protocol.toLowerCase() },
    { name: `${link}_PORT`, value: String(port.port) },
    { name: `${link}_ADDR`, value: clusterIP },
  ];
}

function urlOf(clusterIP: string, { protocol, port }: ServiceObjectPort): string {
  const host = isIPv6(clusterIP) ? `[${clusterIP}]` : clusterIP;
  return `${protocol.toLowerCase()}://${host}:${port}`;
}

function upper(name: string): string {
  return name.replaceAll('-', '_').toUpperCase();
}
