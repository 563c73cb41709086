import { compileAll } from '../../../src/graph/compile.ts';
import { interpret } from '../../../src/graph/interpret.ts';
import type { Outcome } from '../../../src/graph/interpret.ts';
import type { NodeContext } from '../../../src/graph/node-context.ts';
import { packetFrom } from '../../../src/graph/packet.ts';
import type { Protocol, ServicePort } from '../../../src/services/service-port.ts';
import { address, byKey, endpoint, nodeContext, servicePort } from '../../support/service-ports.ts';

export const local = endpoint('10.244.1.5:8080', { local: true });
export const remote = endpoint('10.244.2.6:8080');
export const sources = { pod: '10.244.1.9', node: '192.168.0.2', outside: '198.51.100.3' } as const;
export const vips = {
  clusterIP: '10.96.0.10:80',
  nodePort: '192.168.0.2:30080',
  loadBalancer: '203.0.113.10:80',
  external: '203.0.113.99:80',
} as const;

export type Overrides = Parameters<typeof servicePort>[0];

/** A service port with every kind of frontend, one endpoint here and one elsewhere. */
export function exposed(overrides: Overrides = {}): ServicePort {
  return servicePort({
    nodePort: 30080,
    loadBalancerIPs: ['203.0.113.10'],
    externalIPs: ['203.0.113.99'],
    endpoints: [local, remote],
    ...overrides,
  });
}

export interface Sent {
  readonly from: string;
  readonly to: string;
  readonly protocol?: Protocol;
  readonly inInterface?: string;
}

export function send(
  ports: readonly ServicePort[],
  { from, to, protocol = 'TCP', inInterface }: Sent,
  node: NodeContext = nodeContext(),
): readonly Outcome[] {
  const colon = to.lastIndexOf(':');
  const destination = address(to.slice(0, colon).replace(/^\[(.*)\]$/, '$1'));
  const journey = {
    protocol,
    source: address(from),
    destination,
    port: Number(to.slice(colon + 1)),
    inInterface,
  };
  return interpret(compileAll(byKey(ports), node), packetFrom(node, journey));
}

/** `L,R masq`, `L`, `drop`: the shorthand of the tables below. */
export function inShort(outcomes: readonly Outcome[]): string {
  const [first] = outcomes;
  if (!first) return 'nothing';
  if (first.kind !== 'endpoint') return first.kind;
  const names = outcomes.map((outcome) => {
    if (outcome.kind !== 'endpoint') return outcome.kind;
    return outcome.endpoint.address === local.address ? 'L' : 'R';
  });
  return `${names.join(',')}${first.masquerade ? ' masq' : ''}`;
}

export type Vip = keyof typeof vips;
export type Source = keyof typeof sources;
