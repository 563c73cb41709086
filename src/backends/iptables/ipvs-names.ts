import type { TableName } from './state.ts';

/**
 * The chains of fixed name that an ipvs mode has and this one has not, Switchyard's and kube-proxy's:
 * both modes share the others, so that one clean-up of rules is for both.
 */
export const ipvsModeChains: Readonly<Record<TableName, readonly string[]>> = {
  filter: [
    'KUBE-NODE-PORT',
    'KUBE-SOURCE-RANGES-FIREWALL',
    'KUBE-IPVS-FILTER',
    'KUBE-IPVS-OUT-FILTER',
  ],
  nat: ['KUBE-NODE-PORT', 'KUBE-LOAD-BALANCER'],
  mangle: ['KUBE-PROXY-FIREWALL'],
};

/** Whether a set is of Switchyard's ipvs mode: `KUBE-6-IPVS-SERVED-1`, or its like for an exchange. */
export function isIpvsModeSet(name: string): boolean {
  return /^KUBE-(?:6-)?IPVS-[A-Z-]+-\d+(?:-T)?$/.test(name);
}

/** The sets of kube-proxy's ipvs mode and their types. */
const upstreamSets: Readonly<Record<string, string>> = {
  'LOOP-BACK': 'hash:ip,port,ip',
  'CLUSTER-IP': 'hash:ip,port',
  'EXTERNAL-IP': 'hash:ip,port',
  'EXTERNAL-IP-LOCAL': 'hash:ip,port',
  'LOAD-BALANCER': 'hash:ip,port',
  'LOAD-BALANCER-FW': 'hash:ip,port',
  'LOAD-BALANCER-LOCAL': 'hash:ip,port',
  'LOAD-BALANCER-SOURCE-IP': 'hash:ip,port,ip',
  'LOAD-BALANCER-SOURCE-CIDR': 'hash:ip,port,net',
  'NODE-PORT-TCP': 'bitmap:port',
  'NODE-PORT-LOCAL-TCP': 'bitmap:port',
  'NODE-PORT-UDP': 'bitmap:port',
  'NODE-PORT-LOCAL-UDP': 'bitmap:port',
  'NODE-PORT-SCTP-HASH': 'hash:ip,port',
  'NODE-PORT-LOCAL-SCTP-HASH': 'hash:ip,port',
  'HEALTH-CHECK-NODE-PORT': 'bitmap:port',
  'IPVS-IPS': 'hash:ip',
};

/** The kernel's limit; kube-proxy cuts its IPv6 names to it. */
const longestSetName = 31;

const upstreamTypes: ReadonlyMap<string, string> = new Map(
  Object.entries(upstreamSets).flatMap(([name, type]) =>
    ['KUBE-', 'KUBE-6-'].map(
      (prefix) => [`${prefix}${name}`.slice(0, longestSetName), type] as const,
    ),
  ),
);

/** Whether a set is one of kube-proxy's ipvs mode, by name and type. */
export function isUpstreamIpvsSet(name: string, type: string): boolean {
  return upstreamTypes.get(name) === type;
}
