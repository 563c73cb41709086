// What a real API server says in Protocol Buffers is what it says in JSON, and every number of the schemas is right.
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Namespaces } from '../../src/host/namespaces.ts';
import { systemTools } from '../../src/host/run-tool.ts';
import type { WireMessage } from '../../src/informer/wire-message.ts';
import {
  endpointSliceWire,
  nodeWire,
  serviceCidrWire,
  serviceWire,
} from '../../src/services/wire-schemas.ts';
import { ControlPlane } from './control-plane.ts';

type Value = Readonly<Record<string, unknown>>;
interface BothForms {
  readonly kind: string;
  readonly binary: readonly Value[];
  readonly json: readonly Value[];
  readonly contentTypes: readonly string[];
}

const blocked = ControlPlane.blocked();
const merge = 'application/merge-patch+json';

const balancer = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', labels: { app: 'web' }, annotations: { note: 'ä ö ü, and "quotes"' } },
  spec: {
    type: 'LoadBalancer',
    ipFamilyPolicy: 'RequireDualStack',
    ports: [
      { name: 'http', port: 80, targetPort: 8080, nodePort: 30_080 },
      { name: 'dns', port: 53, protocol: 'UDP' },
    ],
    externalIPs: ['198.51.100.7'],
    loadBalancerSourceRanges: ['192.0.2.0/24'],
    externalTrafficPolicy: 'Local',
    internalTrafficPolicy: 'Local',
    sessionAffinity: 'ClientIP',
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 77 } },
  },
};
const ingress = [{ ip: '203.0.113.50', ipMode: 'Proxy' }, { hostname: 'lb.example' }];
const plain = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'plain' },
  spec: { ports: [{ port: 65_535 }] },
};
const slice = {
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  ports: [
    { name: 'http', port: 8080 },
    { name: '', protocol: 'UDP', port: 5353 },
  ],
  endpoints: [
    {
      addresses: ['10.244.0.5'],
      nodeName: 'node-a',
      conditions: { ready: true, serving: true, terminating: false },
      hints: { forZones: [{ name: 'zone-1' }, { name: 'zone-2' }], forNodes: [{ name: 'node-a' }] },
    },
    { addresses: ['10.244.0.6'], conditions: { ready: false, serving: true, terminating: true } },
    { addresses: ['10.244.0.7'] },
  ],
};
const node = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'node-a', labels: { 'topology.kubernetes.io/zone': 'zone-1' } },
  spec: {
    podCIDR: '10.244.0.0/24',
    podCIDRs: ['10.244.0.0/24', 'fd00:10:244::/64'],
    taints: [{ key: 'reserved', effect: 'NoSchedule' }],
  },
};
const addresses = [
  { type: 'InternalIP', address: '192.0.2.1' },
  { type: 'Hostname', address: 'node-a' },
];

/** Only an object that is being deleted has the first, and not every kind has the others. */
const maybeUnseen = /^metadata\.(deletionTimestamp|labels|annotations|namespace)$/;

describe.skipIf(blocked !== undefined)(
  `lists in Protocol Buffers${blocked ? ` (${blocked})` : ''}`,
  () => {
    const namespaces = new Namespaces({ tools: systemTools, prefix: 'swyforms' });
    const forms = new Map<string, BothForms>();
    let plane: ControlPlane;

    beforeAll(async () => {
      await namespaces.removeLeftovers();
      await namespaces.add(['plane']);
      await namespaces.ip('plane', ['addr add 203.0.113.1/32 dev lo', 'route add default dev lo']);
      plane = new ControlPlane({
        namespace: namespaces.name('plane'),
        address: '203.0.113.1',
        serviceCidrs: ['10.96.0.0/12', 'fd00:10:96::/108'],
      });
      await plane.start();
      const services = '/api/v1/namespaces/default/services';
      await plane.must('POST', services, balancer);
      await plane.must('POST', services, plain);
      await plane.must(
        'PATCH',
        `${services}/web/status`,
        { status: { loadBalancer: { ingress } } },
        merge,
      );
      await plane.must(
        'POST',
        '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
        slice,
      );
      await plane.must('POST', '/api/v1/nodes', node);
      await plane.must('PATCH', '/api/v1/nodes/node-a/status', { status: { addresses } }, merge);
      const script = join(import.meta.dirname, 'both-forms.ts');
      const text = await namespaces.run('plane', process.execPath, [script, plane.kubeconfig()]);
      for (const line of text.trim().split('\n')) {
        const each = JSON.parse(line) as BothForms;
        forms.set(each.kind, each);
      }
    });

    afterAll(async () => {
      await plane?.stop();
      await namespaces.close();
    });

    it.each([
      ['Service', serviceWire],
      ['EndpointSlice', endpointSliceWire],
      ['Node', nodeWire],
      ['ServiceCIDR', serviceCidrWire],
    ] as const)('%s: both forms say the same, field by field', (kind, wire) => {
      const { binary = [], json = [], contentTypes = [] } = forms.get(kind) ?? {};
      expect(contentTypes).toEqual(['application/vnd.kubernetes.protobuf', 'application/json']);
      expect(binary.length).toBeGreaterThan(0);
      expect(binary).toEqual(json);
      const seen = new Set(binary.flatMap((object) => paths(wire, object)));
      const unseen = allPaths(wire).filter((path) => !seen.has(path) && !maybeUnseen.test(path));
      expect(unseen).toEqual([]);
    });
  },
);

function allPaths(wire: WireMessage, above = ''): readonly string[] {
  return wire.flatMap((field) => {
    if (field === undefined) return [];
    const path = `${above}${field.name}`;
    return typeof field.type === 'string' ? [path] : allPaths(field.type, `${path}.`);
  });
}

/** The fields of a schema that an object has. */
function paths(wire: WireMessage, value: Value, above = ''): readonly string[] {
  return wire.flatMap((field) => {
    const own = field === undefined ? undefined : value[field.name];
    if (field === undefined || own === undefined) return [];
    const path = `${above}${field.name}`;
    const { type } = field;
    if (typeof type === 'string') return [path];
    const each = (Array.isArray(own) ? own : [own]) as readonly Value[];
    return each.flatMap((one) => paths(type, one, `${path}.`));
  });
}
