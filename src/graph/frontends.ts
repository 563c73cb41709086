import { compact } from '../compact.ts';
import { cidrContains } from '../ip/cidr.ts';
import type { Address } from '../ip/address.ts';
import { skippedText } from '../services/choice-reasons.ts';
import type { ChoiceList, Protocol, ServicePort } from '../services/service-port.ts';
import type { NodeContext } from './node-context.ts';
import { alwaysAnswersNodePorts } from './packet.ts';
import { poolOf } from './pool.ts';
import type {
  Branch,
  Frontend,
  FrontendId,
  FrontendKind,
  Guard,
  Origin,
  Pool,
  PoolId,
  PoolTarget,
  Verdict,
} from './rule-graph.ts';

/** What one service port wants of the graph, whether or not another service port contests it. */
export interface CompiledServicePort {
  readonly origin: Origin;
  /** 0 where unknown. */
  readonly createdAtMs: number;
  /** No id twice. */
  readonly frontends: readonly Frontend[];
  readonly pools: readonly Pool[];
  /** Frontends at addresses on which node ports answer → the node port of their number. */
  readonly nodePortRivals: ReadonlyMap<FrontendId, FrontendId>;
  /** 0: none. */
  readonly healthCheckNodePort: number;
}

/** The id of the frontend at an address, or of a node port where there is no address. */
export function frontendId(
  address: Address | undefined,
  protocol: Protocol,
  port: number,
): FrontendId {
  return `${address ?? 'nodePort'}/${protocol}/${port}` as FrontendId;
}

/**
 * The frontends and pools of one service port. An address the service port lists twice is one
 * frontend: as cluster IP before load balancer IP before external IP.
 */
export function compileServicePort(port: ServicePort, node: NodeContext): CompiledServicePort {
  const origin: Origin = { service: port.service, servicePort: port.key, name: port.name };
  const pools = new Map<PoolId, Pool>();
  const targets = poolTargets(port, pools);
  const frontends = new Map<FrontendId, Frontend>();
  const add = (
    kind: FrontendKind,
    address: Address | undefined,
    guard: Guard | undefined,
  ): void => {
    const number = kind === 'nodePort' ? port.nodePort : port.port;
    const id = frontendId(address, port.protocol, number);
    if (frontends.has(id)) return;
    const branches =
      kind === 'clusterIP' ? internal : (external ??= externalBranches(port, node, targets));
    const protocol = port.protocol;
    frontends.set(id, { id, kind, address, protocol, port: number, origin, guard, branches });
  };
  const internal = internalBranches(port, node, targets);
  let external: readonly Branch[] | undefined;
  const guard = guardOf(port, node);
  add('clusterIP', port.clusterIP, undefined);
  for (const address of port.loadBalancerIPs) add('loadBalancerIP', address, guard);
  for (const address of port.externalIPs) add('externalIP', address, undefined);
  if (port.nodePort !== 0) add('nodePort', undefined, undefined);
  return {
    origin,
    createdAtMs: port.createdAtMs,
    frontends: compact([...frontends.values()]),
    pools: compact([...pools.values()]),
    nodePortRivals: rivalsOf(frontends.values(), node),
    healthCheckNodePort: port.healthCheckNodePort,
  };
}

const noRivals: ReadonlyMap<FrontendId, FrontendId> = new Map();

function rivalsOf(
  frontends: Iterable<Frontend>,
  node: NodeContext,
): ReadonlyMap<FrontendId, FrontendId> {
  const rivals = Array.from(frontends).flatMap(({ id, address, protocol, port }) =>
    address !== undefined && alwaysAnswersNodePorts(node, address)
      ? [[id, frontendId(undefined, protocol, port)] as const]
      : [],
  );
  return rivals.length === 0 ? noRivals : new Map(rivals);
}

/** Makes targets for the cluster or the local list; undefined where the list has no endpoint. */
interface Targets {
  readonly cluster: (masquerade: boolean) => PoolTarget | undefined;
  readonly local: (masquerade: boolean) => PoolTarget | undefined;
}

function poolTargets(port: ServicePort, pools: Map<PoolId, Pool>): Targets {
  const maker = (list: ChoiceList) => {
    const endpoints = port.endpoints[list];
    let pool: Pool | undefined;
    return (masquerade: boolean): PoolTarget | undefined => {
      if (endpoints === undefined || endpoints.length === 0) return undefined;
      pool ??= poolOf(port, endpoints);
      pools.set(pool.id, pool);
      return { kind: 'pool', pool: pool.id, list, masquerade };
    };
  };
  return { cluster: maker('cluster'), local: maker('local') };
}

const noEndpoints: Verdict = Object.freeze({ kind: 'reject', reason: 'no endpoints' });
const noLocalEndpoints: Verdict = Object.freeze({ kind: 'drop', reason: 'no local endpoints' });

function nothingUsable(port: ServicePort): readonly Branch[] {
  const skipped = skippedText(port.endpoints.skipped);
  const reason =
    skipped === ''
      ? `${port.name} has no endpoints`
      : `${port.name} has no usable endpoint (${skipped})`;
  return [{ from: 'anywhere', to: noEndpoints, reason }];
}

/** Traffic to the cluster IP: internalTrafficPolicy decides, whoever connects. */
function internalBranches(
  port: ServicePort,
  node: NodeContext,
  targets: Targets,
): readonly Branch[] {
  if (!port.endpoints.hasAny) return nothingUsable(port);
  const isLocal = port.internalPolicy === 'Local';
  const target = isLocal ? targets.local : targets.cluster;
  const masqueraded = target(true);
  const plain = target(false);
  if (masqueraded === undefined || plain === undefined) {
    if (!isLocal) return nothingUsable(port);
    const reason = 'internalTrafficPolicy is Local and no endpoint runs on this node';
    return [{ from: 'anywhere', to: noLocalEndpoints, reason }];
  }
  if (node.masqueradeAll) {
    const reason = 'masqueradeAll hides every source of cluster IP traffic';
    return [{ from: 'anywhere', to: masqueraded, reason }];
  }
  if (node.podDetector.kind === 'none') {
    const reason = 'nothing tells pods from others here, so no source is hidden';
    return [{ from: 'anywhere', to: plain, reason }];
  }
  return [
    { from: 'pod', to: plain, reason: 'pods of this node keep their address to cluster IPs' },
    {
      from: 'anywhere',
      to: masqueraded,
      reason: 'not from a pod of this node: masqueraded, so that replies come back this way',
    },
  ];
}

/** Traffic to external IPs, load balancer IPs and the node port: externalTrafficPolicy decides. */
function externalBranches(
  port: ServicePort,
  node: NodeContext,
  targets: Targets,
): readonly Branch[] {
  if (!port.endpoints.hasAny) return nothingUsable(port);
  if (port.externalPolicy === 'Cluster') {
    const target = targets.cluster(true);
    if (target === undefined) return nothingUsable(port);
    const reason =
      'externalTrafficPolicy is Cluster: any endpoint, and replies must come back this way';
    return [{ from: 'anywhere', to: target, reason }];
  }
  const branches: Branch[] = [];
  const [plain, masqueraded] = [targets.cluster(false), targets.cluster(true)];
  if (plain && node.podDetector.kind !== 'none') {
    const reason = 'pods of this node reach any endpoint, though externalTrafficPolicy is Local';
    branches.push({ from: 'pod', to: plain, reason });
  }
  if (masqueraded) {
    const reason = 'the node itself reaches any endpoint, though externalTrafficPolicy is Local';
    branches.push({ from: 'node', to: masqueraded, reason });
  }
  const local = targets.local(false);
  branches.push({
    from: 'anywhere',
    to: local ?? noLocalEndpoints,
    reason: local
      ? "externalTrafficPolicy is Local: this node's endpoints, and the source address is kept"
      : 'externalTrafficPolicy is Local and no endpoint runs on this node',
  });
  return branches;
}

/**
 * loadBalancerSourceRanges as a guard. Where a range contains the node, the service port's own
 * load balancer addresses pass too: an address bound on the node is the source of the node's
 * own packets to it.
 */
function guardOf(port: ServicePort, node: NodeContext): Guard | undefined {
  const { sourceRanges: allowed, endpoints } = port;
  if (allowed.length === 0 || !endpoints.hasAny) return undefined;
  const self = node.nodeAddress;
  const holdsNode = self !== undefined && allowed.some((range) => cidrContains(range, self));
  return {
    allowed,
    allowedOwn: holdsNode ? port.loadBalancerIPs : [],
    others: { kind: 'drop', reason: 'not in loadBalancerSourceRanges' },
  };
}
