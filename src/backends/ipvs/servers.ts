import type { Pool, PoolEndpoint } from '../../graph/rule-graph.ts';
import { hostPort } from '../../ip/address.ts';
import type { Address } from '../../ip/address.ts';
import type { Protocol } from '../../services/service-port.ts';
import type { RealServer, RealServerKey, VirtualServer, VirtualServerKey } from './state.ts';

/** The key of the virtual server at an address: `TCP/10.96.0.10:53`. */
export function virtualServerKey(
  protocol: Protocol,
  address: Address,
  port: number,
): VirtualServerKey {
  return `${protocol}/${hostPort(address, port)}` as VirtualServerKey;
}

/** The key of a real server: `10.244.1.5:8080`. */
export function realServerKey({
  address,
  port,
}: Pick<RealServer, 'address' | 'port'>): RealServerKey {
  return hostPort(address, port) as RealServerKey;
}

/** The endpoints of a pool as real servers. Pools never change, so that equal ones are made once. */
export function realServersOf(pool: Pool): ReadonlyMap<RealServerKey, RealServer> {
  const known = madeOf.get(pool);
  if (known !== undefined) return known;
  const made = new Map(pool.endpoints.map((each) => [realServerKey(each), realServer(each)]));
  madeOf.set(pool, made);
  return made;
}

const madeOf = new WeakMap<Pool, ReadonlyMap<RealServerKey, RealServer>>();

function realServer({ address, port, weight }: PoolEndpoint): RealServer {
  return { address, port, weight };
}

/** Whether two virtual servers are one and the same to the kernel and to those who read reports. */
export function isSameServer(a: VirtualServer, b: VirtualServer): boolean {
  return (
    a.scheduler === b.scheduler &&
    a.schedulerFlags.join() === b.schedulerFlags.join() &&
    a.persistentSeconds === b.persistentSeconds &&
    a.drainSeconds === b.drainSeconds &&
    a.origin.servicePort === b.origin.servicePort &&
    isSameRealServers(a.realServers, b.realServers)
  );
}

function isSameRealServers(
  a: VirtualServer['realServers'],
  b: VirtualServer['realServers'],
): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [key, { weight }] of a) if (b.get(key)?.weight !== weight) return false;
  return true;
}
