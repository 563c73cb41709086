import type { FlagValues } from './flag-table.ts';
import type { FieldReport } from './ipvs-fields.ts';
import { otherGates } from './other-gates.ts';
import { closest } from './suggest.ts';

/** What is the case here whatever a gate of kube-proxy says. */
interface ProxyGate {
  /** The value that asks for what is the case; undefined where neither does. */
  readonly is?: boolean;
  readonly why: string;
}

const always = (what: string): ProxyGate => ({ is: true, why: what });
const never = (what: string): ProxyGate => ({ is: false, why: what });
const nftables = never('nftables mode is not built yet');
const client: ProxyGate = {
  why: 'Switchyard has a client of its own: it lists, in Protocol Buffers, and then watches',
};
const logging: ProxyGate = { why: 'Switchyard has a log of its own' };

/** Gates that are about a service proxy, or about a client of the API server. */
export const proxyGates: ReadonlyMap<string, ProxyGate> = new Map([
  ['AllAlpha', never('what is built is there, whatever its stage')],
  ['AllBeta', never('what is built is there, whatever its stage')],
  ['AtomicFIFO', client],
  ['ClientsAllowCARotation', always('a renewed CA is read again')],
  ['ClientsAllowCBOR', client],
  ['ClientsAllowTLSCacheGC', client],
  ['ClientsPreferCBOR', client],
  ['ComponentFlagz', always('the metrics server has /flagz')],
  ['ComponentSLIs', always('the metrics server has /metrics/slis')],
  ['ComponentStatusz', always('the metrics server has /statusz')],
  ['ContextualLogging', logging],
  ['EndpointSlice', always('endpoints come from EndpointSlices')],
  ['EndpointSliceProxying', always('endpoints come from EndpointSlices')],
  ['EndpointSliceTerminatingCondition', always('terminating endpoints are told from ready ones')],
  ['ExternalPolicyForExternalIP', always('externalTrafficPolicy counts for external IPs too')],
  ['InOrderInformers', client],
  ['InOrderInformersBatchProcess', client],
  ['InformerResourceVersion', client],
  ['IPTablesOwnershipCleanup', always('the chains of the kubelet are the kubelet’s')],
  ['IPv6DualStack', always('both families are served where the node has them')],
  [
    'KubeProxyDrainingTerminatingNodes',
    always('a node that is to be removed fails its health check'),
  ],
  ['KubeProxyNFTablesLocalhostNodePorts', nftables],
  ['LoadBalancerIPMode', always('ipMode of a load balancer counts')],
  ['LoggingAlphaOptions', logging],
  ['LoggingBetaOptions', logging],
  ['MinimizeIPTablesRestore', always('only what changed is written')],
  ['MixedProtocolLBService', always('a load balancer may have ports of several protocols')],
  [
    'MultiCIDRServiceAllocator',
    always('ServiceCIDR objects are followed where the cluster has them'),
  ],
  ['NativeHistograms', never('histograms have buckets')],
  ['NFTablesNetlink', nftables],
  ['NFTablesProxyMode', nftables],
  ['PreferSameTrafficDistribution', always('hints for nodes and zones count')],
  ['ProxyTerminatingEndpoints', always('where all endpoints terminate, those that serve are used')],
  ['ServiceInternalTrafficPolicy', always('internalTrafficPolicy counts')],
  ['ServiceLBNodePortControl', always('a load balancer may be without node ports')],
  ['ServiceTrafficDistribution', always('hints for zones count')],
  ['StrictIPCIDRValidation', { why: 'what the API server has taken is read' }],
  ['TopologyAwareHints', always('hints for zones count')],
  ['UnlockWhileProcessingFIFO', client],
  ['WatchList', client],
  ['WatchListClient', client],
  ['WinDSR', { why: 'Switchyard runs on Linux' }],
  ['WinOverlay', { why: 'Switchyard runs on Linux' }],
]);

/** Gates that change what Switchyard does. */
export const honouredGates: ReadonlyMap<string, string> = new Map([
  ['KubeProxyIPVS', 'where it is false, ipvs mode is refused'],
]);

/** Checks the feature gates: unknown ones are problems; of known ones that change nothing it is said why. */
export function readGates(flags: FlagValues, report: FieldReport): void {
  const field = 'featureGates';
  const others = new Set<string>();
  for (const [name, on] of gatesOf(flags)) {
    const proxyGate = proxyGates.get(name);
    if (proxyGate !== undefined) {
      if (proxyGate.is !== on) {
        report.warn(`${flags.shown(field)}: ${name}=${String(on)} has no effect: ${proxyGate.why}`);
      }
    } else if (otherGates.has(name)) others.add(name);
    else if (!honouredGates.has(name)) {
      report.problem(
        field,
        `${JSON.stringify(name)} is no feature gate of Kubernetes`,
        hintFor(name),
      );
    }
  }
  if (others.size > 0) {
    const names = [...others].toSorted().join(', ');
    const have = others.size === 1 ? 'has' : 'have';
    report.warn(`${flags.shown(field)}: ${names} ${have} no effect: not about service proxies`);
  }
}

/** A gate that is about a service proxy, and what the case is. */
interface GateState {
  readonly name: string;
  /** As Kubernetes names stages; '': for everybody. */
  readonly stage: string;
  readonly enabled: boolean;
}

/** What the case is for each gate that is about a service proxy, whatever was asked for; sorted by name. */
export function gateStates(flags: FlagValues): readonly GateState[] {
  const states: GateState[] = [
    { name: 'KubeProxyIPVS', stage: 'DEPRECATED', enabled: allowsIpvs(flags) },
  ];
  for (const [name, { is }] of proxyGates) {
    if (is !== undefined) states.push({ name, stage: '', enabled: is });
  }
  return states.toSorted((one, other) => (one.name < other.name ? -1 : 1));
}

/** Whether Kubernetes has, or had, a gate of this name. */
export function isKnownGate(name: string): boolean {
  return proxyGates.has(name) || honouredGates.has(name) || otherGates.has(name);
}

/** Whether ipvs mode may be used. */
export function allowsIpvs(flags: FlagValues): boolean {
  return gatesOf(flags).get('KubeProxyIPVS') !== false;
}

/** The last word on each gate. */
function gatesOf(flags: FlagValues): ReadonlyMap<string, boolean> {
  return new Map(
    flags.list('featureGates').map((item) => {
      const at = item.lastIndexOf('=');
      return [item.slice(0, at), item.slice(at + 1) === 'true'] as const;
    }),
  );
}

function hintFor(name: string): string {
  const guess = closest(name, [...proxyGates.keys(), ...honouredGates.keys(), ...otherGates]);
  return guess === undefined ? 'leave it out, kube-proxy refuses it too' : `did you mean ${guess}?`;
}
