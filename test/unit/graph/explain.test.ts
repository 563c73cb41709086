import { describe, expect, it } from 'vitest';
import { compileAll } from '../../../src/graph/compile.ts';
import { explainJson, explainText } from '../../../src/graph/explain.ts';
import { interpret } from '../../../src/graph/interpret.ts';
import { packetFrom } from '../../../src/graph/packet.ts';
import type { ServiceName } from '../../../src/services/service-port.ts';
import { address, byKey, endpoint, nodeContext, servicePort } from '../../support/service-ports.ts';

const node = nodeContext();
const local = endpoint('10.244.1.5:8080', { local: true });
const remote = endpoint('10.244.20.6:8080');
const graph = compileAll(
  byKey([
    servicePort({ endpoints: [local, remote, endpoint('10.244.3.7:8080')] }),
    servicePort({
      service: 'default/shop' as ServiceName,
      portName: 'http',
      clusterIP: '10.96.0.20',
      externalPolicy: 'Local',
      nodePort: 30080,
      loadBalancerIPs: ['203.0.113.10'],
      sourceRanges: ['198.51.100.0/24'],
      affinitySeconds: 600,
      endpoints: [remote],
    }),
    servicePort({
      service: 'default/late' as ServiceName,
      clusterIP: '10.96.0.21',
      nodePort: 30080,
      createdAtMs: 1_800_000_000_000,
    }),
  ]),
  node,
);

function explained(explain: typeof explainText, from: string, to: string, port: number): string {
  const packet = packetFrom(node, {
    protocol: 'TCP',
    source: address(from),
    destination: address(to),
    port,
  });
  return explain(graph, packet, interpret(graph, packet));
}

describe('explain', () => {
  it('tells a pod where it goes, with exact shares, and where it would meet itself', () => {
    expect(explained(explainText, '10.244.1.5', '10.96.0.10', 80)).toBe(
      `10.244.1.5 → 10.96.0.10:80/TCP, on node-1
source: a pod of this node (pods are in 10.244.1.0/24)

  → frontend: 10.96.0.10:80/TCP is the cluster IP of default/web
    → branch: from a pod: pods of this node keep their address to cluster IPs
      → pool: one of 3 endpoints at random

  1/3  33.33 %  10.244.1.5:8080   source replaced, since 10.244.1.5 would be talking to itself (hairpin)
  1/3  33.33 %  10.244.20.6:8080  source 10.244.1.5 kept
  1/3  33.33 %  10.244.3.7:8080   source 10.244.1.5 kept
`,
    );
  });

  it('says which branches were not taken, how long a client keeps its endpoint, and who else wanted the port', () => {
    expect(explained(explainText, '192.168.0.2', '192.168.0.2', 30080)).toBe(
      `192.168.0.2 → 192.168.0.2:30080/TCP, on node-1
source: this node (one of its own addresses)

  → frontend: 30080/TCP is the node port of default/shop:http
    ✗ branch: the source is no pod of this node
    → branch: from the node: the node itself reaches any endpoint, though externalTrafficPolicy is Local
      → pool: one endpoint for a first connection; the client then keeps it for 600 s

  1  100 %  10.244.20.6:8080  source replaced by the node's address (masquerade)
note: default/late asks for this too, but default/shop:http holds it (the older Service wins)
`,
    );
  });

  const ends: readonly (readonly [string, string, number, string])[] = [
    [
      '8.8.8.8',
      '203.0.113.10',
      80,
      '✗ guard: loadBalancerSourceRanges (198.51.100.0/24) do not allow 8.8.8.8',
    ],
    [
      '8.8.8.8',
      '203.0.113.10',
      80,
      'dropped (the client waits until it gives up): not in loadBalancerSourceRanges',
    ],
    [
      '198.51.100.3',
      '203.0.113.10',
      80,
      'dropped (the client waits until it gives up): no local endpoints',
    ],
    ['8.8.8.8', '10.96.0.21', 80, 'rejected (the client is told at once): no endpoints'],
    [
      '8.8.8.8',
      '10.96.0.10',
      81,
      '10.96.0.10 is the cluster IP of default/web, which has no port 81/TCP there',
    ],
    [
      '8.8.8.8',
      '1.1.1.1',
      80,
      'passed on untouched (routed as if there were no Services): no service',
    ],
  ];
  it.each(ends)('%s → %s:%i: %s', (from, to, port, line) => {
    expect(explained(explainText, from, to, port)).toContain(line);
  });

  it('gives programs the same, with fractions as text', () => {
    const document = JSON.parse(explained(explainJson, '10.244.1.5', '10.96.0.10', 80));
    expect(document).toMatchObject({
      packet: { source: '10.244.1.5', fromPod: true, fromNode: false },
      node: 'node-1',
      conflicts: [],
      outcomes: [
        {
          probability: '1/3',
          percent: '33.33 %',
          masquerade: true,
          hairpin: true,
          origin: { service: 'default/web' },
        },
        { probability: '1/3', masquerade: false },
        { probability: '1/3', masquerade: false },
      ],
    });
  });
});
