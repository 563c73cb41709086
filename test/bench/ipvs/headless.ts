import { dotted } from '../workload.ts';
import { farPods } from '../upstream/objects.ts';
import type { BenchNodes } from '../upstream/nodes.ts';
import { SteadyChanges } from '../upstream/changes.ts';

const count = 10;
const services = '/api/v1/namespaces/default/services';
const slices = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';
const ports = [{ name: 'http', protocol: 'TCP', port: 9376 }];

/** Makes headless Services with a slice each: no proxy has to do anything for them. */
export async function makeHeadless(nodes: BenchNodes): Promise<void> {
  const { plane } = nodes.twins;
  for (let n = 0; n < count; n++) {
    const name = headlessName(n);
    await plane.must('POST', services, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name },
      spec: { clusterIP: 'None', ports },
    });
    await plane.must('POST', slices, {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name,
        labels: {
          'kubernetes.io/service-name': name,
          'service.kubernetes.io/headless': '',
        },
      },
      addressType: 'IPv4',
      ports,
      endpoints: endpoints(0),
    });
  }
}

/** Changes their endpoints, each in its turn. */
export function headlessChanges(nodes: BenchNodes, perSecond: number): SteadyChanges {
  return new SteadyChanges(nodes, perSecond, (change) => ({
    path: `${slices}/${headlessName(change % count)}`,
    endpoints: endpoints(nodes.nextGeneration() + 1),
  }));
}

function headlessName(n: number): string {
  return `headless-${n}`;
}

function endpoints(generation: number): readonly object[] {
  const address = dotted(farPods.first + 2 ** 19 + (generation % 2 ** 16));
  return [{ addresses: [address], nodeName: 'node-b', conditions: { ready: true } }];
}
