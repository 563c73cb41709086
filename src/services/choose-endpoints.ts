import { compact } from '../compact.ts';
import { noHints, whyNot } from './choice-reasons.ts';
import type {
  Endpoint,
  EndpointChoice,
  ServicePort,
  SkippedEndpoint,
  TopologyMode,
} from './service-port.ts';
import { externallyAccessible } from './service-port.ts';

/** What of this node the choice depends on. */
export interface ChoosingNode {
  readonly nodeName: string;
  /** Label topology.kubernetes.io/zone; undefined where absent. */
  readonly zone: string | undefined;
}

/** What of the service port the choice depends on. */
export type ChoosingPort = Pick<
  ServicePort,
  'internalPolicy' | 'externalPolicy' | 'nodePort' | 'externalIPs' | 'loadBalancerIPs'
>;

/**
 * Chooses the endpoints of a service port for this node, as kube-proxy does (KEP-2433, KEP-3015,
 * KEP-1669): cluster list by topology hints, local list by locality, terminating endpoints only where
 * nothing is ready. `all` is sorted bytewise by `ip:port`, and so are the results.
 */
export function chooseEndpoints(
  all: readonly Endpoint[],
  port: ChoosingPort,
  node: ChoosingNode,
): EndpointChoice {
  const outside = externallyAccessible(port);
  const usesCluster = port.internalPolicy === 'Cluster' || outside;
  const usesLocal = port.internalPolicy === 'Local' || (port.externalPolicy === 'Local' && outside);
  const topology = topologyOf(all, node);
  const cluster = usesCluster ? clusterList(all, topology.mode, node) : undefined;
  const local = usesLocal ? localList(all) : undefined;
  const hasAny = (cluster?.length ?? 0) > 0 || (usesLocal && all.some(usable));
  return {
    cluster,
    local,
    localReady: compact(all.filter((endpoint) => endpoint.local && endpoint.ready)),
    hasAny,
    topology: topology.mode,
    topologyReason: topology.reason,
    skipped: skippedOf(all, [...(cluster ?? []), ...(local ?? [])], topology.mode, usesCluster),
  };
}

function usable(endpoint: Endpoint): boolean {
  return endpoint.ready || (endpoint.serving && endpoint.terminating);
}

function clusterList(
  all: readonly Endpoint[],
  mode: TopologyMode,
  node: ChoosingNode,
): readonly Endpoint[] {
  const ready = all.filter((endpoint) => endpoint.ready && matches(endpoint, mode, node));
  if (ready.length === all.length) return all;
  return compact(ready.length > 0 ? ready : all.filter((e) => e.serving && e.terminating));
}

function localList(all: readonly Endpoint[]): readonly Endpoint[] {
  const local = all.filter((endpoint) => endpoint.local);
  const ready = local.filter((endpoint) => endpoint.ready);
  return compact(ready.length > 0 ? ready : local.filter((e) => e.serving && e.terminating));
}

function matches(endpoint: Endpoint, mode: TopologyMode, node: ChoosingNode): boolean {
  switch (mode) {
    case 'none':
      return true;
    case 'PreferSameNode':
      return endpoint.nodeHints.includes(node.nodeName);
    case 'PreferSameZone':
      return node.zone !== undefined && endpoint.zoneHints.includes(node.zone);
    default:
      return mode satisfies never;
  }
}

/** Ready endpoints alone decide; one without a hint switches that kind of hint off for all. */
function topologyOf(
  all: readonly Endpoint[],
  node: ChoosingNode,
): { readonly mode: TopologyMode; readonly reason: string } {
  const ready = all.filter((endpoint) => endpoint.ready);
  if (all.length === 0) return { mode: 'none', reason: 'there is no endpoint' };
  if (ready.length === 0) return { mode: 'none', reason: 'no endpoint is ready' };
  if (ready.every((e) => e.nodeHints.length > 0)) {
    if (ready.some((e) => e.nodeHints.includes(node.nodeName))) {
      return { mode: 'PreferSameNode', reason: `endpoints are hinted for node ${node.nodeName}` };
    }
  }
  const hinted = ready.filter((e) => e.zoneHints.length > 0).length;
  if (hinted === 0) return { mode: 'none', reason: nodeHintsReason(ready, node) };
  if (hinted < ready.length) {
    const missing = ready.length - hinted;
    return {
      mode: 'none',
      reason: `${missing} of ${ready.length} ready endpoints have no zone hint`,
    };
  }
  if (node.zone === undefined || node.zone === '') {
    return { mode: 'none', reason: 'this node has no zone label' };
  }
  const { zone } = node;
  if (!ready.some((e) => e.zoneHints.includes(zone))) {
    return { mode: 'none', reason: `no ready endpoint is hinted for zone ${zone}` };
  }
  return {
    mode: 'PreferSameZone',
    reason: `all ready endpoints have zone hints, some for zone ${zone}`,
  };
}

/** Why node hints alone did not narrow the list. */
function nodeHintsReason(ready: readonly Endpoint[], { nodeName }: ChoosingNode): string {
  const hinted = ready.filter((e) => e.nodeHints.length > 0).length;
  if (hinted === 0) return noHints;
  return hinted < ready.length
    ? `${ready.length - hinted} of ${ready.length} ready endpoints have no node hint`
    : `no ready endpoint is hinted for node ${nodeName}, and none has a zone hint`;
}

function skippedOf(
  all: readonly Endpoint[],
  used: readonly Endpoint[],
  mode: TopologyMode,
  usesCluster: boolean,
): readonly SkippedEndpoint[] {
  const chosen = new Set(used);
  const list = usesCluster ? 'cluster' : 'local';
  const skipped = all.filter((endpoint) => !chosen.has(endpoint));
  return compact(skipped.map((endpoint) => ({ endpoint, reason: whyNot(endpoint, list, mode) })));
}
