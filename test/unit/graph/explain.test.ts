import { describe, expect, it } from 'vitest';
import { compileAll } from '../../../src/graph/compile.ts';
import { explainJson, explainText } from '../../../src/graph/explain.ts';
import type { Explained } from '../../../src/graph/explain.ts';
import { interpret } from '../../../src/graph/interpret.ts';
import { packetFrom } from '../../../src/graph/packet.ts';
import { chooseEndpoints } from '../../../src/services/choose-endpoints.ts';
import type { ServiceName } from '../../../src/services/service-port.ts';
import { address, byKey, endpoint, nodeContext, servicePort } from '../../support/service-ports.ts';

const node = nodeContext();
const local = endpoint('10.244.1.5:8080', { local: true });
const remote = endpoint('10.244.20.6:8080');
const servicePorts = byKey([
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
]);

/** A question about some service ports, answered. */
function asked(
  ports: Explained['servicePorts'],
  [from, to, port]: readonly [string, string, number],
): Explained {
  const compiled = compileAll(ports, node);
  const packet = packetFrom(node, {
    protocol: 'TCP',
    source: address(from),
    destination: address(to),
    port,
  });
  const outcomes = interpret(compiled, packet);
  return { graph: compiled, packet, outcomes, servicePorts: ports };
}

function explained(explain: typeof explainText, from: string, to: string, port: number): string {
  return explain(asked(servicePorts, [from, to, port]));
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
note: default/late wants nodePort/TCP/30080, which default/shop:http holds: its Service is older
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

  it('says why these endpoints, and why not the others', () => {
    const ports = byKey([
      servicePort({
        externalPolicy: 'Local',
        nodePort: 30_080,
        endpoints: chooseEndpoints(
          [
            local,
            endpoint('10.244.1.6:8080', { local: true, ready: false, zoneHints: ['a'] }),
            { ...remote, zoneHints: ['a'] },
          ],
          servicePort({ externalPolicy: 'Local', nodePort: 30_080 }),
          { nodeName: 'node-1', zone: 'a' },
        ),
      }),
    ]);
    expect(explainText(asked(ports, ['10.244.1.9', '10.96.0.10', 80]))).toContain(`
      → pool: one of 2 endpoints at random
        choice: 1 of 2 ready endpoints have no zone hint
        ✗ endpoint: 10.244.1.6:8080: not ready
`);
    expect(explainText(asked(ports, ['8.8.8.8', '192.168.0.2', 30_080]))).toContain(`
      → pool: one endpoint
        choice: the traffic policy is Local: the endpoints on this node, which hints never narrow
        ✗ endpoint: 10.244.1.6:8080: not ready
        ✗ endpoint: 10.244.20.6:8080: on another node, and the traffic policy is Local
`);
    expect(JSON.parse(explainJson(asked(ports, ['8.8.8.8', '192.168.0.2', 30_080])))).toMatchObject(
      {
        choice: {
          list: 'local',
          leftOut: [
            { endpoint: { address: '10.244.1.6', port: 8080 }, reason: 'not ready' },
            {
              endpoint: { address: '10.244.20.6' },
              nodeName: 'node-2',
              slice: 'default/web-abcde',
            },
          ],
        },
      },
    );
  });

  it('lists ten of the endpoints that are left out', () => {
    const unready = Array.from({ length: 12 }, (_, i) =>
      endpoint(`10.244.3.${i + 10}:8080`, { ready: false }),
    );
    const ports = byKey([servicePort({ endpoints: unready })]);
    const text = explainText(asked(ports, ['8.8.8.8', '10.96.0.10', 80]));
    expect(text.match(/✗ endpoint/g)).toHaveLength(10);
    expect(text).toContain('✗ and 2 more endpoints');
    expect(text).toContain('default/web has no usable endpoint (12 not ready)');
  });

  it('gives programs the same, with fractions as text', () => {
    const document = JSON.parse(explained(explainJson, '10.244.1.5', '10.96.0.10', 80));
    expect(document).toMatchObject({
      packet: { source: '10.244.1.5', fromPod: true, fromNode: false },
      node: 'node-1',
      choice: { list: 'cluster', leftOut: [] },
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
