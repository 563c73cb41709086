import { hostPort } from '../ip/address.ts';
import { compareBytes, compareFrontends } from './order.ts';
import { rational, toFraction } from './rational.ts';
import type { Pool, RuleGraph } from './rule-graph.ts';

/**
 * The graph as JSON for programs: `{ family, node, frontends, pools, conflicts, healthCheckPorts }`,
 * lists sorted, each endpoint with its exact share. Equal graphs give equal bytes.
 */
export function toJson(graph: RuleGraph): string {
  const document = {
    family: graph.family,
    node: graph.node,
    frontends: [...graph.frontends.values()].toSorted(compareFrontends),
    pools: [...graph.pools.values()].toSorted((a, b) => compareBytes(a.id, b.id)).map(poolJson),
    conflicts: graph.conflicts,
    healthCheckPorts: [...graph.healthCheckPorts]
      .toSorted(([a], [b]) => a - b)
      .map(([port, origin]) => ({ port, origin })),
  };
  return `${JSON.stringify(sortKeys(document), undefined, 2)}\n`;
}

function poolJson(pool: Pool): object {
  const total = pool.endpoints.reduce((sum, { weight }) => sum + weight, 0);
  return {
    ...pool,
    endpoints: pool.endpoints.map((endpoint) => ({
      ...endpoint,
      endpoint: hostPort(endpoint.address, endpoint.port),
      share: toFraction(rational(endpoint.weight, total)),
    })),
  };
}

/** Keys in order of code units, so that it never matters how an object was put together. */
function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).toSorted(([a], [b]) => compareBytes(a, b));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sortKeys(inner)]));
}
