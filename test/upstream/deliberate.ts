import { address } from '../support/service-ports.ts';
import { sliceOf } from './objects.ts';
import type { Bundle, RawService, RawServiceSpec, RawSlice } from './objects.ts';
import { podAddress } from './place.ts';
import type { Places } from './place.ts';
import { crowd } from './questions.ts';
import type { LabQuestion } from './questions.ts';

/** Objects that show a difference the rule book has no scenario for. */
export interface DeliberateCase {
  readonly bundle: Bundle;
  readonly flags: readonly string[];
  /** What is asked beside what is asked of every service. */
  readonly questions: readonly LabQuestion[];
}

const podCidrs = '--cluster-cidr=10.244.0.0/16,fd00:10:244::/56';
/** Upstream may agree on one contested address by chance; not on all of these. */
const contestedPairs = 12;

/** A case for each such row of docs/differences.md. */
export function deliberateCases(places: Places): readonly DeliberateCase[] {
  return [
    closedNodePort(places),
    openedByExternalIp(places),
    ...Array.from({ length: contestedPairs }, (_, n) => contested(n, places)),
    returningClients(places),
    strangers(places),
  ];
}

/** External policy Local without a local endpoint, and a node port that is not offered everywhere. */
function closedNodePort(places: Places): DeliberateCase {
  const spec: RawServiceSpec = {
    type: 'NodePort',
    clusterIP: places.clusterIP('ipv4'),
    externalTrafficPolicy: 'Local',
    ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: places.nodePort() }],
  };
  const flags = [podCidrs, '--nodeport-addresses=192.0.2.0/24'];
  return { bundle: bundle('closed', [spec], ['remote']), flags, questions: [] };
}

/** One address is both external and load balancer IP, and source ranges leave the client out. */
function openedByExternalIp(places: Places): DeliberateCase {
  const ip = places.external('ipv4');
  const spec: RawServiceSpec = {
    type: 'LoadBalancer',
    clusterIP: places.clusterIP('ipv4'),
    externalIPs: [ip],
    loadBalancerSourceRanges: ['198.51.100.0/24'],
    ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: places.nodePort() }],
  };
  const status = { loadBalancer: { ingress: [{ ip }] } };
  return { bundle: bundle('opened', [spec], ['pod-a'], status), flags: [podCidrs], questions: [] };
}

function contested(n: number, places: Places): DeliberateCase {
  const ip = places.external('ipv4');
  const specs = [0, 1].map((): RawServiceSpec => ({
    type: 'ClusterIP',
    clusterIP: places.clusterIP('ipv4'),
    externalIPs: [ip],
    ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
  }));
  return {
    bundle: bundle(`contested-${n}`, specs, ['pod-a', 'pod-b']),
    flags: [podCidrs],
    questions: [],
  };
}

/** More clients than a `recent` list keeps. */
function returningClients(places: Places): DeliberateCase {
  const clusterIP = places.clusterIP('ipv4');
  const spec: RawServiceSpec = {
    type: 'ClusterIP',
    clusterIP,
    sessionAffinity: 'ClientIP',
    ports: [{ name: 'http', protocol: 'TCP', port: 80 }],
  };
  const made = bundle('returning', [spec], ['pod-a']);
  const slice = endpoints('returning-0', 1, 'pod-b');
  const question: LabQuestion = {
    bundle: 'returning',
    service: 'returning-0',
    portName: 'http',
    frontend: 'returning clients',
    actor: 'client',
    source: crowd(0),
    crowd,
    to: address(clusterIP),
    port: 80,
    proto: 'tcp',
    sticky: false,
    family: 'ipv4',
  };
  return {
    bundle: { ...made, slices: [...made.slices, slice] },
    flags: [podCidrs],
    questions: [question],
  };
}

/** The node's only endpoint serves UDP, and the service has a TCP port. */
function strangers(places: Places): DeliberateCase {
  const spec: RawServiceSpec = {
    type: 'LoadBalancer',
    clusterIP: places.clusterIP('ipv4'),
    externalTrafficPolicy: 'Local',
    healthCheckNodePort: places.nodePort(),
    ports: [{ name: 'http', protocol: 'TCP', port: 80, nodePort: places.nodePort() }],
  };
  const made = bundle('strangers', [spec], ['remote']);
  const { ports, ...slice } = endpoints('strangers-0', 1, 'pod-a');
  const other = { ...slice, ports: ports.map((port) => ({ ...port, protocol: 'UDP' })) };
  return {
    bundle: { ...made, slices: [...made.slices, other] },
    flags: [podCidrs],
    questions: [],
  };
}

/** Services `NAME-0`, `NAME-1` …, the older first, each with a pod of its own. */
function bundle(
  name: string,
  specs: readonly RawServiceSpec[],
  pods: readonly ('pod-a' | 'pod-b' | 'remote')[],
  status?: RawService['status'],
): Bundle {
  return {
    name,
    services: specs.map((spec, n) => [
      { metadata: { name: `${name}-${n}` }, spec, ...(status && { status }) },
    ]),
    slices: pods.map((pod, n) => endpoints(`${name}-${n}`, 0, pod)),
  };
}

function endpoints(service: string, n: number, pod: 'pod-a' | 'pod-b' | 'remote'): RawSlice {
  return sliceOf(service, n, {
    addressType: 'IPv4',
    ports: [{ name: 'http', protocol: 'TCP', port: 8080 }],
    endpoints: [
      {
        addresses: [podAddress(pod, 'ipv4')],
        nodeName: pod === 'remote' ? 'node-b' : 'node-a',
        conditions: { ready: true },
      },
    ],
  });
}
