import type { ServiceName } from '../services/service-port.ts';
import { compareBytes, compareFrontends } from './order.ts';
import type { Branch, Conflict, Frontend, Guard, Pool, PoolId, RuleGraph } from './rule-graph.ts';

/** A service as it is drawn: one box with everything that is its own. */
export interface DrawnService {
  readonly name: ServiceName;
  readonly frontends: readonly Frontend[];
  /** Equal guards of a service port are drawn once. */
  readonly gates: readonly Gate[];
  /** Equal lists of branches are drawn once, with an arrow from each frontend that has them. */
  readonly switches: readonly Switch[];
  /** Addresses the service asked for and did not get. */
  readonly lost: readonly Conflict[];
  readonly healthCheckPorts: readonly number[];
}

export interface Gate {
  readonly key: string;
  readonly guard: Guard;
  readonly frontends: readonly Frontend[];
}

export interface Switch {
  readonly key: string;
  readonly branches: readonly Branch[];
  readonly frontends: readonly Frontend[];
}

/** What a drawing shows, in its order: services by name, pools in order of their first use. */
export interface Drawing {
  readonly services: readonly DrawnService[];
  readonly pools: readonly Pool[];
}

/** Arranges a graph for drawing. Equal graphs give equal drawings, whatever their history. */
export function arrange(graph: RuleGraph): Drawing {
  const frontends = [...graph.frontends.values()].toSorted(compareFrontends);
  const byService = Map.groupBy(frontends, ({ origin }) => origin.service);
  const lost = Map.groupBy(graph.conflicts, ({ loser }) => loser.service);
  const healthChecks = Map.groupBy(graph.healthCheckPorts, ([, { service }]) => service);
  const names = new Set([...byService.keys(), ...lost.keys(), ...healthChecks.keys()]);
  const services = [...names].toSorted(compareBytes).map((name): DrawnService => {
    const own = byService.get(name) ?? [];
    return {
      name,
      frontends: own,
      gates: gatesOf(own),
      switches: switchesOf(own),
      lost: lost.get(name) ?? [],
      healthCheckPorts: (healthChecks.get(name) ?? [])
        .map(([port]) => port)
        .toSorted((a, b) => a - b),
    };
  });
  return { services, pools: poolsInOrder(graph, services) };
}

function gatesOf(frontends: readonly Frontend[]): readonly Gate[] {
  const guarded = frontends.filter(({ guard }) => guard !== undefined);
  const groups = Map.groupBy(guarded, ({ origin, guard }) =>
    JSON.stringify([origin.servicePort, guard]),
  );
  return Array.from(groups.values()).flatMap((group): readonly Gate[] => {
    const [first] = group;
    return first?.guard ? [{ key: first.id, guard: first.guard, frontends: group }] : [];
  });
}

function switchesOf(frontends: readonly Frontend[]): readonly Switch[] {
  const groups = Map.groupBy(frontends, ({ origin, branches }) =>
    JSON.stringify([origin.servicePort, branches.map(({ from, to }) => [from, to])]),
  );
  return Array.from(groups.values(), (group): Switch => {
    const [first] = group;
    return { key: first?.id ?? '', branches: first?.branches ?? [], frontends: group };
  });
}

function poolsInOrder(graph: RuleGraph, services: readonly DrawnService[]): readonly Pool[] {
  const pools = new Set<Pool>();
  for (const id of services.flatMap(poolIds)) {
    const pool = graph.pools.get(id);
    if (pool) pools.add(pool);
  }
  return [...pools];
}

/** A part of more services than this is cut up: laying it out would take minutes, and nobody could read it. */
const mostServices = 40;

/**
 * The parts of a drawing that no arrow connects, in order of their first service. Where very many
 * services share pools, each stands alone with a copy of its pools.
 */
export function parts({ services, pools }: Drawing): readonly Drawing[] {
  const known = new Map(pools.map((pool) => [pool.id, pool]));
  const groupOf = new Map<PoolId, Group>();
  const groups = new Set<Group>();
  for (const service of services) {
    const used = poolIds(service);
    const joined = [...new Set(used.flatMap((id) => groupOf.get(id) ?? []))];
    const [group = { services: [], pools: new Set() }, ...others] = joined.toSorted(
      (a, b) => b.services.length - a.services.length,
    );
    for (const other of others) {
      group.services.push(...other.services);
      for (const id of other.pools) join(group, id, groupOf);
      groups.delete(other);
    }
    group.services.push(service);
    for (const id of used) join(group, id, groupOf);
    groups.add(group);
  }
  const drawn = (members: readonly DrawnService[], ids: Iterable<PoolId>): Drawing => ({
    services: members.toSorted((a, b) => compareBytes(a.name, b.name)),
    pools: [...new Set(ids)].flatMap((id) => known.get(id) ?? []),
  });
  return [...groups]
    .flatMap(({ services: members, pools: ids }) =>
      members.length <= mostServices
        ? [drawn(members, ids)]
        : members.map((service) => drawn([service], poolIds(service))),
    )
    .toSorted((a, b) => compareBytes(a.services[0]?.name ?? '', b.services[0]?.name ?? ''));
}

function join(group: Group, id: PoolId, groupOf: Map<PoolId, Group>): void {
  group.pools.add(id);
  groupOf.set(id, group);
}

interface Group {
  readonly services: DrawnService[];
  readonly pools: Set<PoolId>;
}

function poolIds({ switches }: DrawnService): readonly PoolId[] {
  return switches.flatMap(({ branches }) =>
    branches.flatMap(({ to }) => (to.kind === 'pool' ? [to.pool] : [])),
  );
}
