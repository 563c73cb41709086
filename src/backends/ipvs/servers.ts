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

/** How the connections of a pool are treated. */
export type Scheduling = Pick<
  VirtualServer,
  'scheduler' | 'schedulerFlags' | 'persistentSeconds' | 'drainSeconds'
>;

/** What the Service asked; where it asked nothing, the node's scheduler. */
export function schedulingOf(pool: Pool, defaultScheduler: string): Scheduling {
  const { scheduling, drainSeconds } = pool;
  const scheduler = scheduling?.scheduler ?? defaultScheduler;
  const flags = scheduling?.flags ?? [];
  return {
    scheduler,
    schedulerFlags: flags.length === 0 ? usualFlags(scheduler) : flags.toSorted(),
    persistentSeconds: pool.affinity?.timeoutSeconds,
    ...(drainSeconds !== undefined && { drainSeconds }),
  };
}

const none: readonly string[] = Object.freeze([]);
const withPort: readonly string[] = Object.freeze(['mh-port']);

/**
 * The flags of a scheduler for which none are named. Of `mh`, kube-proxy's: without the port all connections of a client would
 * meet one real server (spec/kube-proxy.md 4.6).
 */
export function usualFlags(scheduler: string): readonly string[] {
  return scheduler === 'mh' ? withPort : none;
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
