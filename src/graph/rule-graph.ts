import type { Address, Family } from '../ip/address.ts';
import type { Cidr } from '../ip/cidr.ts';
import type { Scheduling } from '../services/balancing.ts';
import type {
  ChoiceList,
  Protocol,
  ServiceName,
  ServicePortKey,
  ServicePortName,
} from '../services/service-port.ts';
import type { NodeContext } from './node-context.ts';

/** `10.96.0.10/UDP/53`, or `nodePort/TCP/30080`. */
export type FrontendId = string & { readonly __brand: 'FrontendId' };
/** A hash of the pool's content; pools with affinity are kept apart by service port. */
export type PoolId = string & { readonly __brand: 'PoolId' };

export type FrontendKind = 'clusterIP' | 'externalIP' | 'loadBalancerIP' | 'nodePort';

/** The object a node of the graph comes from, for comments, errors and explain. */
export interface Origin {
  readonly service: ServiceName;
  readonly servicePort: ServicePortKey;
  readonly name: ServicePortName;
}

/** Where traffic for a service port arrives. */
export interface Frontend {
  readonly id: FrontendId;
  readonly kind: FrontendKind;
  /** undefined for node ports: any of the node's node-port addresses. */
  readonly address: Address | undefined;
  readonly protocol: Protocol;
  readonly port: number;
  readonly origin: Origin;
  readonly guard: Guard | undefined;
  /** Tried in order; the last one is always from anywhere. */
  readonly branches: readonly Branch[];
}

/** loadBalancerSourceRanges: who may use the frontend; the others are dropped. */
export interface Guard {
  readonly allowed: readonly Cidr[];
  /** The service port's own load balancer addresses, where a range contains the node. */
  readonly allowedOwn: readonly Address[];
  readonly others: Verdict;
}

/** Which sources a branch is for. `pod` needs a detector, `node` is addrtype src-type LOCAL. */
export type BranchSource = 'pod' | 'node' | 'anywhere';

export interface Branch {
  readonly from: BranchSource;
  readonly to: PoolTarget | Verdict;
  /** Why, in words for explain. */
  readonly reason: string;
}

export interface PoolTarget {
  readonly kind: 'pool';
  readonly pool: PoolId;
  /** Which endpoints of the service port the pool is: all of them, or those of this node. */
  readonly list: ChoiceList;
  /** Whether the source address is replaced; a hairpin (endpoint = source) always is. */
  readonly masquerade: boolean;
}

export interface Verdict {
  readonly kind: 'reject' | 'drop' | 'pass';
  readonly reason: string;
}

export interface PoolEndpoint {
  readonly address: Address;
  readonly port: number;
  /** Positive integer; shares are weight / sum of weights. */
  readonly weight: number;
}

/** Endpoints that share the load. Never empty; sorted bytewise by `ip:port`. */
export interface Pool {
  readonly id: PoolId;
  readonly endpoints: readonly PoolEndpoint[];
  readonly affinity: Affinity | undefined;
  /** How a mode with virtual servers chooses, where the Service says so; others choose at random. */
  readonly scheduling?: Scheduling;
  /** How long connections to an endpoint that left may last, where the Service says so. */
  readonly drainSeconds?: number;
  /** When a UDP flow ends that a proxy of sockets keeps, where the Service says so. */
  readonly udpTimeoutMs?: number;
  /** Whether a proxy of sockets tells the endpoints their clients' addresses. */
  readonly proxyProtocol?: true;
}

/** ClientIP affinity: kept per service port and endpoint, whichever frontend was used. */
export interface Affinity {
  readonly servicePort: ServicePortKey;
  readonly timeoutSeconds: number;
}

/** A port on which the health of a Service is asked for: `healthCheckNodePort/32000`. */
export type HealthCheckId = string & { readonly __brand: 'HealthCheckId' };

/** A service port that asked for an address, protocol and port, or a port, that another one holds. */
export interface Conflict {
  readonly claimed: FrontendId | HealthCheckId;
  readonly winner: Origin;
  readonly loser: Origin;
  /** What decided, in words: `default/a:http is older`. */
  readonly reason: string;
}

/**
 * The rule graph of one family: the meaning of all Services on this node. A view owned by its
 * compiler: read it before the next compile, keep nothing of it but its frozen nodes.
 */
export interface RuleGraph {
  readonly family: Family;
  readonly node: NodeContext;
  readonly frontends: ReadonlyMap<FrontendId, Frontend>;
  readonly pools: ReadonlyMap<PoolId, Pool>;
  readonly conflicts: readonly Conflict[];
  /** healthCheckNodePort → the service that holds it; the port is opened in the host firewall. */
  readonly healthCheckPorts: ReadonlyMap<number, Origin>;
}

/** What differs from the graph before; ids only. `everything`: the node context changed, or first compile. */
export interface GraphDelta {
  readonly everything: boolean;
  readonly frontends: ReadonlySet<FrontendId>;
  readonly pools: ReadonlySet<PoolId>;
}
