import type { EndpointSliceObject, ServiceObject } from '../../src/services/objects.ts';

/** A cluster of `services` ClusterIP services with `endpoints` pods each, at random addresses of 10.96.0.0/12. */
export interface Workload {
  readonly services: readonly ServiceObject[];
  readonly slices: readonly EndpointSliceObject[];
  /** The cluster IP whose only real pod is {@link realPod}. */
  readonly probeIP: string;
}

/** The pod that really answers, on port 8080. */
export const realPod = '10.200.0.2';

/** A seeded generator (mulberry32), so that every run has the same addresses. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Dotted text of a 32-bit address. */
export function dotted(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}

/** Distinct random addresses of 10.96.0.0/12, the same in every run; the first is the API server's own. */
export function clusterIPs(count: number): readonly string[] {
  const next = random(7);
  const base = ((10 << 24) | (96 << 16)) >>> 0;
  const used = new Set<number>();
  while (used.size < count) used.add(base + 2 + Math.floor(next() * (2 ** 20 - 3)));
  return [...used].map(dotted);
}

export function workload(services: number, endpoints: number): Workload {
  const ips = clusterIPs(services);
  const probe = ips.length - 1;
  return {
    services: ips.map((ip, i) => service(i, ip)),
    slices: ips.map((_, i) =>
      slice(i, i === probe ? [realPod, realPod, realPod] : pods(i, endpoints)),
    ),
    probeIP: ips[probe] ?? '',
  };
}

/** The slice of service `i` with one pod replaced: the smallest change a rolling update makes. */
export function changedSlice(i: number, endpoints: number): EndpointSliceObject {
  return slice(i, [...pods(i, endpoints).slice(1), '10.245.0.9']);
}

function pods(i: number, endpoints: number): readonly string[] {
  const base = ((10 << 24) | (244 << 16)) >>> 0;
  return Array.from({ length: endpoints }, (_, e) =>
    dotted(base + 256 + ((i * endpoints + e) % 65_000)),
  );
}

function service(i: number, clusterIP: string): ServiceObject {
  return {
    meta: {
      namespace: 'default',
      name: `s-${i}`,
      uid: `service-${i}`,
      createdAtMs: 1_700_000_000_000 + i,
    },
    type: 'ClusterIP',
    clusterIP,
    clusterIPs: [clusterIP],
    ipFamilies: ['IPv4'],
    ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: 0 }],
    externalIPs: [],
    loadBalancerSourceRanges: [],
    ingress: [],
    sessionAffinity: 'None',
    affinityTimeoutSeconds: undefined,
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: undefined,
    healthCheckNodePort: 0,
  };
}

function slice(i: number, addresses: readonly string[]): EndpointSliceObject {
  return {
    meta: {
      namespace: 'default',
      name: `s-${i}-a`,
      uid: `slice-${i}`,
      createdAtMs: 1_700_000_000_000 + i,
    },
    serviceName: `s-${i}`,
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: addresses.map((address) => ({
      addresses: [address],
      ready: true,
      serving: true,
      terminating: false,
      nodeName: 'node-b',
      zoneHints: [],
      nodeHints: [],
    })),
    triggerTimeMs: undefined,
  };
}
