import { lab4, lab6 } from '../support/node-lab.ts';

/** The pods of the lab; `remote` runs on another node. */
export const pods = ['pod-a', 'pod-b', 'pod-c', 'remote'] as const;
export type Pod = (typeof pods)[number];
export type Protocol = 'TCP' | 'UDP';
export type SliceFamily = 'IPv4' | 'IPv6';

/** What of a Service decides who answers, as the API server returns it. */
export interface ServiceAnswer {
  readonly spec: {
    readonly clusterIPs: readonly string[];
    readonly ipFamilies: readonly SliceFamily[];
    readonly externalIPs?: readonly string[];
    readonly externalTrafficPolicy?: string;
    readonly type: string;
    readonly ports: readonly { readonly port: number; readonly nodePort?: number }[];
  };
}

/** One EndpointSlice of a Service. Many have the same pods on another port. */
export interface SliceContent {
  readonly family: SliceFamily;
  readonly port: number;
  readonly ready: readonly Pod[];
  readonly unready: readonly Pod[];
}

/** An address that is asked, and who may answer there. */
export interface FrontendAnswers {
  /** `10.96.0.7 80 TCP` */
  readonly key: string;
  readonly to: string;
  readonly port: number;
  readonly protocol: Protocol;
  readonly answers: ReadonlySet<string>;
  /** What is heard there when the Service is gone: nobody owns a cluster IP, but the node refuses. */
  readonly whenGone: 'timeout' | 'refused';
}

export const paths = {
  services: '/api/v1/namespaces/default/services',
  slices: '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
} as const;

const servicePort = 80;

export function serviceManifest(name: string, protocol: Protocol, spec: object): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { ports: [{ name: 'p', port: servicePort, targetPort: 8080, protocol }], ...spec },
  };
}

export function sliceManifest(
  name: string,
  service: string,
  protocol: Protocol,
  { family, port, ready, unready }: SliceContent,
): object {
  const addresses = family === 'IPv4' ? lab4 : lab6;
  const endpoint = (pod: Pod, isReady: boolean): object => ({
    addresses: [addresses[pod]],
    nodeName: pod === 'remote' ? 'node-b' : 'node-a',
    conditions: { ready: isReady, serving: isReady, terminating: false },
  });
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, labels: { 'kubernetes.io/service-name': service } },
    addressType: family,
    ports: [{ name: 'p', protocol, port }],
    endpoints: [
      ...ready.map((pod) => endpoint(pod, true)),
      ...unready.map((pod) => endpoint(pod, false)),
    ],
  };
}

/** Every frontend of a Service, and who answers a client outside of the node there. */
export function frontendsOf(
  { spec }: ServiceAnswer,
  protocol: Protocol,
  slices: Iterable<SliceContent>,
): readonly FrontendAnswers[] {
  const all = [...slices];
  const isLocal = spec.externalTrafficPolicy === 'Local';
  const frontend = (
    to: string,
    port: number,
    local: boolean,
    whenGone: FrontendAnswers['whenGone'],
  ): FrontendAnswers => {
    const family = to.includes(':') ? 'IPv6' : 'IPv4';
    const ready = all.flatMap((slice) => (slice.family === family ? slice.ready : []));
    const answers = whoAnswers(ready, local);
    return { key: `${to} ${port} ${protocol}`, to, port, protocol, answers, whenGone };
  };
  return spec.ports.flatMap(({ port, nodePort = 0 }) => [
    ...spec.clusterIPs.map((address) => frontend(address, port, false, 'timeout')),
    ...(spec.externalIPs ?? []).map((address) => frontend(address, port, isLocal, 'timeout')),
    ...spec.ipFamilies.flatMap((family) => {
      const node = family === 'IPv4' ? lab4.node : lab6.node;
      return nodePort === 0 ? [] : [frontend(node, nodePort, isLocal, 'refused')];
    }),
  ]);
}

/** Without an endpoint the node refuses; with none here, where only these count, it keeps silent. */
function whoAnswers(ready: readonly Pod[], local: boolean): ReadonlySet<string> {
  if (ready.length === 0) return new Set(['refused']);
  if (!local) return new Set(ready);
  const here = ready.filter((pod) => pod !== 'remote');
  return new Set(here.length === 0 ? ['timeout'] : here);
}
