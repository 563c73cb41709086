// The fields of API objects that are kept, as the API numbers them in Protocol Buffers: a number never changes its
// meaning (the API's compatibility promise), and an unknown one is skipped. A test in the cluster layer compares
// what a real API server says in both forms.
import type { WireField, WireMessage } from '../informer/wire-message.ts';

/** Fields by their numbers. */
function message(fields: Readonly<Record<number, WireField>>): WireMessage {
  const length = Math.max(...Object.keys(fields).map(Number)) + 1;
  return Array.from({ length }, (_, number) => fields[number]);
}

const text = (name: string): WireField => ({ name, type: 'text' });
const texts = (name: string): WireField => ({ name, type: 'text', repeated: true });
const integer = (name: string): WireField => ({ name, type: 'integer' });
const one = (name: string, type: WireMessage): WireField => ({ name, type, pointer: true });
const many = (name: string, type: WireMessage): WireField => ({ name, type, repeated: true });
const pointer = (name: string, type: 'text' | 'integer' | 'flag'): WireField => ({
  name,
  type,
  pointer: true,
});

const objectMeta = message({
  1: text('name'),
  3: text('namespace'),
  5: text('uid'),
  6: text('resourceVersion'),
  8: { name: 'creationTimestamp', type: 'time', pointer: true },
  9: { name: 'deletionTimestamp', type: 'time', pointer: true },
  11: { name: 'labels', type: 'labels' },
  12: { name: 'annotations', type: 'labels' },
});
const metadata = one('metadata', objectMeta);

/** core/v1 Service */
export const serviceWire = message({
  1: metadata,
  2: one(
    'spec',
    message({
      1: many(
        'ports',
        message({
          1: text('name'),
          2: text('protocol'),
          3: integer('port'),
          5: integer('nodePort'),
        }),
      ),
      3: text('clusterIP'),
      4: text('type'),
      5: texts('externalIPs'),
      7: text('sessionAffinity'),
      9: texts('loadBalancerSourceRanges'),
      11: text('externalTrafficPolicy'),
      12: integer('healthCheckNodePort'),
      14: one(
        'sessionAffinityConfig',
        message({ 1: one('clientIP', message({ 1: pointer('timeoutSeconds', 'integer') })) }),
      ),
      18: texts('clusterIPs'),
      19: texts('ipFamilies'),
      22: pointer('internalTrafficPolicy', 'text'),
    }),
  ),
  3: one(
    'status',
    message({
      1: one(
        'loadBalancer',
        message({ 1: many('ingress', message({ 1: text('ip'), 3: pointer('ipMode', 'text') })) }),
      ),
    }),
  ),
});

const hint = message({ 1: text('name') });

/** discovery.k8s.io/v1 EndpointSlice */
export const endpointSliceWire = message({
  1: metadata,
  2: many(
    'endpoints',
    message({
      1: texts('addresses'),
      2: one(
        'conditions',
        message({
          1: pointer('ready', 'flag'),
          2: pointer('serving', 'flag'),
          3: pointer('terminating', 'flag'),
        }),
      ),
      6: pointer('nodeName', 'text'),
      8: one('hints', message({ 1: many('forZones', hint), 2: many('forNodes', hint) })),
    }),
  ),
  3: many(
    'ports',
    message({
      1: pointer('name', 'text'),
      2: pointer('protocol', 'text'),
      3: pointer('port', 'integer'),
    }),
  ),
  4: text('addressType'),
});

/** core/v1 Node */
export const nodeWire = message({
  1: metadata,
  2: one(
    'spec',
    message({
      1: text('podCIDR'),
      5: many('taints', message({ 1: text('key') })),
      7: texts('podCIDRs'),
    }),
  ),
  3: one(
    'status',
    message({ 5: many('addresses', message({ 1: text('type'), 2: text('address') })) }),
  ),
});

/** networking.k8s.io/v1 ServiceCIDR */
export const serviceCidrWire = message({
  1: metadata,
  2: one('spec', message({ 1: texts('cidrs') })),
});
