import { lab4, lab6, podPorts } from '../support/node-lab.ts';

/** Pods that can stand behind a service, with the node each runs on. */
const nodeOf = {
  'pod-a': 'node-a',
  'pod-b': 'node-a',
  'pod-c': 'node-a',
  remote: 'node-b',
} as const;

/** A pod of the lab. */
export type PodName = keyof typeof nodeOf;

/** What the tests vary. Both protocols are served on port 80, and both families where nothing is said. */
export interface ServiceOptions {
  /** Last part of the cluster IPs: 10.96.0.HOST and fd00:10:96::HOST. */
  readonly host: number;
  readonly type?: 'ClusterIP' | 'NodePort' | 'LoadBalancer';
  readonly nodePort?: number;
  readonly externalIPs?: readonly string[];
  /** Addresses of the load balancer. */
  readonly ingress?: readonly string[];
  readonly sourceRanges?: readonly string[];
  readonly externalPolicy?: 'Cluster' | 'Local';
  readonly internalPolicy?: 'Cluster' | 'Local';
  readonly healthCheckNodePort?: number;
  readonly affinitySeconds?: number;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Default: TCP and UDP. */
  readonly protocols?: readonly ServiceProtocol[];
}

/** What a port of a Service may speak. */
export type ServiceProtocol = 'TCP' | 'UDP' | 'SCTP';

const usualProtocols: readonly ServiceProtocol[] = ['TCP', 'UDP'];

/** The node the agent runs on. */
export function nodeObject(): object {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-a' },
    status: {
      addresses: [lab4.node, lab6.node].map((address) => ({ type: 'InternalIP', address })),
    },
  };
}

/** A dual-stack Service `default/NAME`. */
export function service(name: string, options: ServiceOptions): object {
  const { host, type = 'ClusterIP', nodePort, affinitySeconds } = options;
  const { protocols = usualProtocols } = options;
  const clusterIPs = [`10.96.0.${host}`, `fd00:10:96::${host}`];
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'default', annotations: options.annotations },
    spec: {
      type,
      clusterIP: clusterIPs[0],
      clusterIPs,
      ipFamilies: ['IPv4', 'IPv6'],
      ports: protocols.map((protocol) => ({
        name: protocol.toLowerCase(),
        protocol,
        port: 80,
        ...(nodePort === undefined ? {} : { nodePort }),
      })),
      externalIPs: options.externalIPs,
      loadBalancerSourceRanges: options.sourceRanges,
      externalTrafficPolicy: options.externalPolicy,
      internalTrafficPolicy: options.internalPolicy,
      healthCheckNodePort: options.healthCheckNodePort,
      ...(affinitySeconds === undefined
        ? {}
        : {
            sessionAffinity: 'ClientIP',
            sessionAffinityConfig: { clientIP: { timeoutSeconds: affinitySeconds } },
          }),
    },
    status: { loadBalancer: { ingress: options.ingress?.map((ip) => ({ ip })) ?? [] } },
  };
}

/** The EndpointSlices of a Service, one a family and a port of the pods. */
export function slices(
  name: string,
  pods: readonly PodName[],
  targets: readonly number[] = podPorts.slice(0, 1),
  protocols: readonly ServiceProtocol[] = usualProtocols,
): readonly object[] {
  const families = ['IPv4', 'IPv6'] as const;
  return families.flatMap((family) =>
    targets.map((port) => slice(name, family, pods, port, protocols)),
  );
}

function slice(
  name: string,
  addressType: 'IPv4' | 'IPv6',
  pods: readonly PodName[],
  port: number,
  protocols: readonly ServiceProtocol[],
): object {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${addressType.toLowerCase()}-${port}`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType,
    ports: protocols.map((protocol) => ({ name: protocol.toLowerCase(), protocol, port })),
    endpoints: pods.map((pod) => ({
      addresses: [(addressType === 'IPv4' ? lab4 : lab6)[pod]],
      nodeName: nodeOf[pod],
      conditions: { ready: true },
    })),
  };
}
