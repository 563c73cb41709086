import type { NodeContext } from '../../graph/node-context.ts';
import { answersNodePorts } from '../../graph/packet.ts';
import { frontendId } from '../../graph/frontends.ts';
import type {
  Branch,
  Frontend,
  FrontendId,
  Pool,
  PoolEndpoint,
  PoolId,
  PoolTarget,
  RuleGraph,
  Verdict,
} from '../../graph/rule-graph.ts';
import { hostPort } from '../../ip/address.ts';
import type { Address } from '../../ip/address.ts';
import type { Protocol } from '../../services/service-port.ts';
import type { LeftOutEndpoint } from '../sync-report.ts';

/** What of this proxy stands at a place; undefined where nothing does. */
export type StandsAt = (protocol: Protocol, place: PoolEndpoint) => string | undefined;

/** A frontend that leads to this proxy itself no more. */
export interface Straightened {
  readonly frontend: Frontend;
  /** Those it leads to in the place of the ones that held places of this proxy. */
  readonly pools: readonly Pool[];
  readonly leftOut: readonly LeftOutEndpoint[];
}

/**
 * The frontend without endpoints that are places of this proxy: whoever carries bytes there meets itself, and again, until no
 * file is left. Undefined where there are none.
 */
export function straightened(
  frontend: Frontend,
  pools: ReadonlyMap<PoolId, Pool>,
  standsAt: StandsAt,
): Straightened | undefined {
  const { protocol, origin } = frontend;
  const leftOut = new Map<string, LeftOutEndpoint>();
  const made = new Map<PoolId, Pool>();
  const targets = new Map<PoolId, (to: PoolTarget) => PoolTarget | Verdict>();
  const look = ({ id, endpoints, ...asked }: Pool): ((to: PoolTarget) => PoolTarget | Verdict) => {
    const others = endpoints.filter((endpoint) => {
      const what = standsAt(protocol, endpoint);
      if (what === undefined) return true;
      const place = hostPort(endpoint.address, endpoint.port);
      leftOut.set(place, { name: origin.name, endpoint: place, reason: reasonFor(what) });
      return false;
    });
    if (others.length === endpoints.length) return (to) => to;
    if (others.length === 0) return () => nobodyElse;
    const places = others.map(({ address, port }) => hostPort(address, port));
    const left = `${id}: ${places.join()}` as PoolId;
    made.set(left, { id: left, endpoints: others, ...asked });
    return (to) => ({ ...to, pool: left });
  };
  for (const { to } of frontend.branches) {
    if (to.kind !== 'pool' || targets.has(to.pool)) continue;
    const pool = pools.get(to.pool);
    if (pool) targets.set(to.pool, look(pool));
  }
  if (leftOut.size === 0) return undefined;
  const branches = frontend.branches.map((branch): Branch => {
    const { to } = branch;
    return to.kind === 'pool' ? { ...branch, to: targets.get(to.pool)?.(to) ?? to } : branch;
  });
  return {
    frontend: { ...frontend, branches },
    pools: [...made.values()],
    leftOut: [...leftOut.values()],
  };
}

const nobodyElse: Verdict = Object.freeze({
  kind: 'reject',
  reason: 'no endpoint but places of this proxy',
});

function reasonFor(what: string): string {
  return `${what} stands there, so connections would come back to this proxy; name addresses of pods in the EndpointSlice`;
}

/** Where a socket goes that is to go to a wildcard. */
export function dialled(address: Address): Address {
  if (address === '0.0.0.0') return '127.0.0.1' as Address;
  return address === '::' ? ('::1' as Address) : address;
}

/** The frontend that takes what is sent to a place. */
export function frontendAt(
  frontends: ReadonlyMap<FrontendId, Frontend>,
  node: NodeContext,
  protocol: Protocol,
  { address: named, port }: Pick<PoolEndpoint, 'address' | 'port'>,
): FrontendId | undefined {
  const address = dialled(named);
  const own = frontendId(address, protocol, port);
  if (frontends.has(own)) return own;
  const nodePort = frontendId(undefined, protocol, port);
  return frontends.has(nodePort) && answersNodePorts(node, address) ? nodePort : undefined;
}

/** A graph with other frontends, and pools besides. */
export function graphWith(
  graph: RuleGraph,
  all: Iterable<readonly [FrontendId, Straightened]>,
): RuleGraph {
  const { family, node, healthCheckPorts } = graph;
  const frontends = new Map(graph.frontends);
  const pools = new Map(graph.pools);
  for (const [id, each] of all) {
    frontends.set(id, each.frontend);
    for (const pool of each.pools) pools.set(pool.id, pool);
  }
  return {
    family,
    node,
    frontends,
    pools,
    healthCheckPorts,
    get conflicts() {
      return graph.conflicts;
    },
  };
}

/** Each once, sorted. */
export function leftOutOf(all: Iterable<Straightened>): readonly LeftOutEndpoint[] {
  const found = new Map<string, LeftOutEndpoint>();
  for (const { leftOut } of all)
    for (const each of leftOut) found.set(`${each.name} ${each.endpoint} ${each.reason}`, each);
  return [...found].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
}
