import { clusterIPs, dotted } from '../workload.ts';
import { lab4 } from '../../support/node-lab.ts';

/** How big a cluster is: services, each with that many endpoints. */
export interface Scale {
  readonly services: number;
  readonly endpoints: number;
}

/** A service whose pods are real, so that it can be asked. */
export interface AskedService {
  readonly index: number;
  readonly clusterIP: string;
}

/** An object as the API server would have written it, and its key in etcd. */
export interface StoredObject {
  readonly key: string;
  readonly value: object;
}

/** The port that real pods answer on, and that all slices name. */
export const podPort = 9376;
export const servicePort = 80;
/** Pods of other nodes: addresses nobody has, unless a lab gives them to a namespace. */
export const farPods = { first: (10 << 24) | (128 << 16), prefix: '10.128.0.0/12' } as const;

const namespace = 'default';
const createdAt = '2026-01-01T00:00:00Z';
/** As many endpoints as the control plane's own controller puts into a slice. */
const sliceSize = 100;
const realPods = [lab4['pod-a'], lab4['pod-b'], lab4['pod-c']] as const;

/** Up to five services, first and last among them: what is answered early must not pass for all. */
export function askedServices(scale: Scale): readonly AskedService[] {
  const last = scale.services - 1;
  const indexes = new Set([0, 0.25, 0.5, 0.75, 1].map((share) => Math.floor(share * last)));
  const ips = clusterIPs(scale.services);
  return [...indexes].map((index) => ({ index, clusterIP: ips[index] ?? '' }));
}

/** The service whose one slice {@link changeableSlice} replaces, to see when a client notices. */
export function changeableService(scale: Scale): AskedService {
  const index = Math.floor(scale.services / 3);
  return { index, clusterIP: clusterIPs(scale.services)[index] ?? '' };
}

/** Its slice with one pod. */
export function changeableSlice(scale: Scale, pod: 'pod-a' | 'pod-b'): Slice {
  return slice(changeableService(scale).index, 0, [lab4[pod]]);
}

/** Path of a slice in the API. */
export function slicePath(service: number, part = 0): string {
  return `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices/${sliceName(service, part)}`;
}

/**
 * A slice of a service with its first endpoint replaced, differently for each `generation`: the smallest change a
 * rolling update makes.
 */
export function changedSlice(scale: Scale, service: number, generation: number, part = 0): Slice {
  const pods = podsOf(scale, service).slice(part * sliceSize, (part + 1) * sliceSize);
  const replaced = dotted(farPods.first + (2 ** 20 - 1) - (generation % 2 ** 16));
  return slice(service, part, [replaced, ...pods.slice(1)]);
}

/** How many slices each service of a scale has. */
export function slicesOf(scale: Scale): number {
  return Math.ceil(scale.endpoints / sliceSize);
}

/** Services, their EndpointSlices and the IPAddress objects of their cluster IPs, one after the other. */
export function* storedObjects(scale: Scale): Generator<StoredObject> {
  const asked = new Set(askedServices(scale).map(({ index }) => index));
  const changeable = changeableService(scale).index;
  for (const [i, ip] of clusterIPs(scale.services).entries()) {
    yield {
      key: `/registry/services/specs/${namespace}/${serviceName(i)}`,
      value: serviceObject(i, ip),
    };
    yield { key: `/registry/ipaddresses/${ip}`, value: ipAddress(i, ip) };
    const pods = i === changeable ? realPods.slice(0, 1) : asked.has(i) ? realPods : undefined;
    yield* slices(i, scale.services === 1 || !pods ? podsOf(scale, i) : pods);
  }
}

function* slices(i: number, pods: readonly string[]): Generator<StoredObject> {
  for (let part = 0; part * sliceSize < pods.length; part++) {
    yield {
      key: `/registry/endpointslices/${namespace}/${sliceName(i, part)}`,
      value: slice(i, part, pods.slice(part * sliceSize, (part + 1) * sliceSize)),
    };
  }
}

function podsOf({ endpoints }: Scale, service: number): readonly string[] {
  return Array.from({ length: endpoints }, (_, e) =>
    dotted(farPods.first + 256 + service * endpoints + e),
  );
}

function serviceObject(i: number, clusterIP: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      ...metadata(serviceName(i), uid(1, i)),
      labels: { app: serviceName(i) },
      managedFields: [managedFields('v1', ['ports', 'selector', 'type'])],
    },
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: ['IPv4'],
      ipFamilyPolicy: 'SingleStack',
      internalTrafficPolicy: 'Cluster',
      sessionAffinity: 'None',
      selector: { app: serviceName(i) },
      ports: [{ name: 'http', protocol: 'TCP', port: servicePort, targetPort: podPort }],
    },
    status: { loadBalancer: {} },
  };
}

interface Slice {
  readonly endpoints: readonly object[];
  readonly [field: string]: unknown;
}

function slice(i: number, part: number, addresses: readonly string[]): Slice {
  const name = serviceName(i);
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      ...metadata(sliceName(i, part), uid(2, i, part)),
      generation: 1,
      labels: {
        app: name,
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        'kubernetes.io/service-name': name,
      },
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'Service',
          name,
          uid: uid(1, i),
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
      managedFields: [managedFields('discovery.k8s.io/v1', ['addressType', 'endpoints', 'ports'])],
    },
    addressType: 'IPv4',
    ports: [{ name: 'http', protocol: 'TCP', port: podPort }],
    endpoints: addresses.map((address) => endpoint(name, address)),
  };
}

function endpoint(service: string, address: string): object {
  return {
    addresses: [address],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: (realPods as readonly string[]).includes(address) ? 'node-a' : 'node-b',
    zone: 'zone-1',
    targetRef: {
      kind: 'Pod',
      namespace,
      name: `${service}-${address.replaceAll('.', '-')}`,
      uid: uid(3, Number(address.split('.').join(''))),
    },
  };
}

/** Without it the API server would find the cluster IP leaked, and repair that for every service. */
function ipAddress(i: number, ip: string): object {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IPAddress',
    metadata: {
      name: ip,
      uid: uid(4, i),
      creationTimestamp: createdAt,
      labels: {
        'ipaddress.kubernetes.io/ip-family': 'IPv4',
        'ipaddress.kubernetes.io/managed-by': 'ipallocator.k8s.io',
      },
    },
    spec: { parentRef: { group: '', resource: 'services', namespace, name: serviceName(i) } },
  };
}

function metadata(name: string, id: string): object {
  return { name, namespace, uid: id, creationTimestamp: createdAt };
}

/** What the API server keeps of every writer: a third of an object's size in real clusters. */
function managedFields(apiVersion: string, fields: readonly string[]): object {
  return {
    manager: 'kube-controller-manager',
    operation: 'Update',
    apiVersion,
    time: createdAt,
    fieldsType: 'FieldsV1',
    fieldsV1: Object.fromEntries(fields.map((field) => [`f:${field}`, {}])),
  };
}

function serviceName(i: number): string {
  return `s-${String(i).padStart(5, '0')}`;
}

function sliceName(service: number, part: number): string {
  return `${serviceName(service)}-${String(part).padStart(3, '0')}`;
}

function uid(kind: number, ...numbers: readonly number[]): string {
  const [a = 0, b = 0] = numbers;
  return `00000000-000${kind}-4000-8${String(b).padStart(3, '0')}-${String(a).padStart(12, '0')}`;
}
