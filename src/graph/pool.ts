import { hash } from 'node:crypto';
import { hostPort } from '../ip/address.ts';
import { weightOf } from '../services/balancing.ts';
import type { Endpoint, ServicePort } from '../services/service-port.ts';
import type { Affinity, Pool, PoolEndpoint, PoolId } from './rule-graph.ts';

/**
 * The pool of the given endpoints, each with the weight its Service gives it. Its id depends on nothing but
 * content, so equal pools of different services are one node of the graph; a pool with ClientIP affinity also
 * carries its service port, since two services must never share a client's pin.
 * `endpoints` is sorted bytewise by `ip:port` and not empty.
 */
export function poolOf(port: ServicePort, endpoints: readonly Endpoint[]): Pool {
  const affinity: Affinity | undefined =
    port.affinitySeconds === undefined
      ? undefined
      : { servicePort: port.key, timeoutSeconds: port.affinitySeconds };
  const { weights, ...asked } = port.balancing ?? {};
  const members = endpoints.map((endpoint): PoolEndpoint => ({
    address: endpoint.address,
    port: endpoint.port,
    weight: weightOf(weights, endpoint),
  }));
  const pool = { endpoints: members, affinity, ...asked };
  return { id: poolId(pool), ...pool };
}

function poolId({ endpoints, affinity, ...asked }: Omit<Pool, 'id'>): PoolId {
  const { scheduling, drainSeconds, udpTimeoutMs, proxyProtocol } = asked;
  let content = affinity ? `${affinity.servicePort} ${affinity.timeoutSeconds}` : '';
  if (scheduling) content += `\n${[scheduling.scheduler, ...scheduling.flags].join(' ')}`;
  if (drainSeconds !== undefined) content += `\ndrain ${drainSeconds}`;
  if (udpTimeoutMs !== undefined) content += `\nudp ${udpTimeoutMs}`;
  if (proxyProtocol) content += '\nproxy';
  for (const { address, port, weight } of endpoints) {
    content += `\n${hostPort(address, port)} ${weight}`;
  }
  // a part of a text keeps the whole of it: cut the bytes
  return hash('sha256', content, 'buffer').toString('hex', 0, 8) as PoolId;
}

/** What a Service asks beside weights, each with the modes that heed it; '' where nothing. */
export function askedText({ scheduling, drainSeconds, udpTimeoutMs, proxyProtocol }: Pool): string {
  const parts: string[] = [];
  if (scheduling) {
    const { scheduler, flags } = scheduling;
    const flagged = flags.length > 0 ? ` (${flags.join(', ')})` : '';
    parts.push(`in ipvs mode scheduler ${scheduler}${flagged}`);
  }
  if (drainSeconds !== undefined)
    parts.push(`in ipvs and userspace mode drained for ${drainSeconds} s`);
  if (udpTimeoutMs !== undefined)
    parts.push(`in userspace mode UDP flows end after ${udpTimeoutMs} ms`);
  if (proxyProtocol) parts.push('in userspace mode PROXY protocol');
  return parts.join(', ');
}

/** Whether the Service gives an endpoint a weight: one endpoint that has it is enough, so that the next to come or go changes nothing. */
export function isWeightedByService({ endpoints }: Pool): boolean {
  return endpoints.some(({ weight }) => weight !== 1);
}

/** Whether some endpoint gets more than another. */
export function isWeighted({ endpoints }: Pool): boolean {
  return endpoints.some(({ weight }) => weight !== endpoints[0]?.weight);
}
