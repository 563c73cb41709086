import { compileAll } from '../../src/graph/compile.ts';
import { interpret } from '../../src/graph/interpret.ts';
import type { Outcome } from '../../src/graph/interpret.ts';
import type { NodeContext } from '../../src/graph/node-context.ts';
import { packetFrom } from '../../src/graph/packet.ts';
import { toFraction } from '../../src/graph/rational.ts';
import type { RuleGraph } from '../../src/graph/rule-graph.ts';
import type { Kind, KubeObject } from '../../src/informer/kind.ts';
import { hostPort } from '../../src/ip/address.ts';
import type { Family } from '../../src/ip/address.ts';
import { endpointSliceKind } from '../../src/services/endpoint-slice-kind.ts';
import { ServiceCatalog } from '../../src/services/service-catalog.ts';
import type { CatalogChanges } from '../../src/services/service-catalog.ts';
import { serviceKind } from '../../src/services/service-kind.ts';
import type { Protocol, ServicePort } from '../../src/services/service-port.ts';
import { address, nodeContext } from './service-ports.ts';

type Fields = Readonly<Record<string, unknown>>;

/** A raw Service `ns1/web`: 10.96.0.41, port `http` 80/TCP, ClusterIP; `spec` may set every field. */
export function rawService(spec: Fields = {}, { metadata, ...rest }: Fields = {}): unknown {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'ns1', ...(metadata as Fields | undefined) },
    spec: { clusterIP: '10.96.0.41', ports: [{ name: 'http', port: 80 }], ...spec },
    ...rest,
  };
}

/** Its status with load balancer addresses. */
export function ingress(...list: readonly Fields[]): Fields {
  return { status: { loadBalancer: { ingress: list } } };
}

/** A raw EndpointSlice `ns1/web-1` of the Service `web`: IPv4, port `http` 8080/TCP. */
export function rawSlice(endpoints: readonly unknown[], fields: Fields = {}): unknown {
  return {
    metadata: { name: 'web-1', namespace: 'ns1', labels: { 'kubernetes.io/service-name': 'web' } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080 }],
    endpoints,
    ...fields,
  };
}

/** A raw endpoint of this node (node-1) or of another one; ready unless `conditions` say otherwise. */
export function rawEndpoint(
  where: 'here' | 'elsewhere',
  ip: string,
  conditions: Fields = { ready: true },
  hints?: Fields,
): unknown {
  const nodeName = where === 'here' ? 'node-1' : 'node-2';
  return { addresses: [ip], nodeName, conditions, ...(hints && { hints }) };
}

export const draining = { ready: false, serving: true, terminating: true };
export const gone = { ready: false, serving: false, terminating: true };

export const zones = (...names: readonly string[]): Fields => ({
  forZones: names.map((name) => ({ name })),
});
export const nodes = (...names: readonly string[]): Fields => ({
  forNodes: names.map((name) => ({ name })),
});

export interface SceneOptions {
  readonly family?: Family;
  /** Default: a. */
  readonly zone?: string | undefined;
  readonly node?: NodeContext;
}

/** Raw objects, all the way to their meaning on node-1. */
export class Scene {
  readonly ports: readonly ServicePort[];
  readonly graph: RuleGraph;
  readonly changes: CatalogChanges;
  /** `field: reason` of objects, and `object: reason` of what they amount to. */
  readonly problems: readonly string[];
  readonly #node: NodeContext;

  constructor(
    services: readonly unknown[],
    slices: readonly unknown[] = [],
    options: SceneOptions = {},
  ) {
    const { family = 'ipv4', node = nodeContext() } = options;
    const zone = 'zone' in options ? options.zone : 'a';
    const catalog = new ServiceCatalog({ family, nodeName: 'node-1', zone });
    const problems: string[] = [];
    for (const service of read(services, serviceKind, problems)) catalog.setService(service);
    for (const slice of read(slices, endpointSliceKind, problems)) catalog.setSlice(slice);
    this.changes = catalog.take();
    this.ports = [...this.changes.servicePorts.values()];
    this.problems = [
      ...problems,
      ...this.changes.problems.map(({ object, reason }) => `${object}: ${reason}`),
    ];
    this.#node = node;
    this.graph = compileAll(this.changes.servicePorts, node);
  }

  send(from: string, to: string, port: number, protocol: Protocol = 'TCP'): readonly Outcome[] {
    const ends = { source: address(from), destination: address(to), port, protocol };
    return interpret(this.graph, packetFrom(this.#node, ends));
  }

  /** `10.244.1.1:8080 1/2, 10.244.2.1:8080 1/2 masq`, or the verdict. */
  sent(from: string, to: string, port: number, protocol: Protocol = 'TCP'): string {
    return this.send(from, to, port, protocol)
      .map((outcome) => {
        if (outcome.kind !== 'endpoint') return outcome.kind;
        const { endpoint, probability, masquerade } = outcome;
        const where = hostPort(endpoint.address, endpoint.port);
        return `${where} ${toFraction(probability)}${masquerade ? ' masq' : ''}`;
      })
      .join(', ');
  }
}

function read<T extends KubeObject>(
  raws: readonly unknown[],
  kind: Kind<T>,
  problems: string[],
): readonly T[] {
  return raws.flatMap((raw) => {
    if (kind.selects?.(raw) === false) return [];
    const slimmed = kind.slim(raw);
    problems.push(...slimmed.problems.map(({ field, reason }) => `${field}: ${reason}`));
    return slimmed.object ?? [];
  });
}
