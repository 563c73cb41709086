import { hash } from 'node:crypto';
import { hostPort } from '../ip/address.ts';
import type { Endpoint, ServicePort } from '../services/service-port.ts';
import type { Affinity, Pool, PoolEndpoint, PoolId } from './rule-graph.ts';

/**
 * The pool of the given endpoints, one of weight 1 each. Its id depends on nothing but content, so
 * equal pools of different services are one node of the graph; a pool with ClientIP affinity also
 * carries its service port, since two services must never share a client's pin.
 * `endpoints` is sorted bytewise by `ip:port` and not empty.
 */
export function poolOf(port: ServicePort, endpoints: readonly Endpoint[]): Pool {
  const affinity: Affinity | undefined =
    port.affinitySeconds === undefined
      ? undefined
      : { servicePort: port.key, timeoutSeconds: port.affinitySeconds };
  const members = endpoints.map(({ address, port: number }): PoolEndpoint => ({
    address,
    port: number,
    weight: 1,
  }));
  return { id: poolId(members, affinity), endpoints: members, affinity };
}

function poolId(endpoints: readonly PoolEndpoint[], affinity: Affinity | undefined): PoolId {
  let content = affinity ? `${affinity.servicePort} ${affinity.timeoutSeconds}` : '';
  for (const { address, port, weight } of endpoints) {
    content += `\n${hostPort(address, port)} ${weight}`;
  }
  // a part of a text keeps the whole of it: cut the bytes
  return hash('sha256', content, 'buffer').toString('hex', 0, 8) as PoolId;
}
