import type { Pod } from '../pod/pod.ts';
import type { PodEvent } from '../ports/pod-events.ts';

/** What goes into a pod's resolv.conf. */
export interface DnsSettings {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/** What of the node and its cluster a pod's DNS is made of. */
export interface DnsSources {
  readonly clusterDNS: readonly string[];
  /** '' for none. */
  readonly clusterDomain: string;
  /** Of the node's own resolv.conf, by {@link parseResolvConf}. */
  readonly node: DnsSettings;
}

const mostServers = 3;
const mostSearches = 32;
const mostSearchCharacters = 2048;
const longestSearch = 253;

/** The DNS settings of a pod's sandbox (Kubernetes: DNS for Services and Pods), and the Events that say what was left out. */
export function dnsConfig(
  { metadata, spec }: Pick<Pod, 'metadata' | 'spec'>,
  sources: DnsSources,
): { readonly dns: DnsSettings; readonly events: readonly PodEvent[] } {
  const events: PodEvent[] = [];
  const warn = (reason: string, message: string): void => {
    events.push({ type: 'Warning', reason, message });
  };
  let base = baseOf(spec, sources, metadata.namespace);
  if (base === undefined) {
    const pod = `${metadata.name}_${metadata.namespace}(${metadata.uid})`;
    warn('MissingClusterDNS', `pod: ${JSON.stringify(pod)}. ${missingClusterDns}`);
    base = sources.node;
  }
  return { dns: limited(merged(base, spec.dnsConfig), warn), events };
}

/** Told of the node, too. */
export const missingClusterDns =
  'kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. Falling back to "Default" policy.';

/** Undefined: the cluster's was asked for, and there is none. */
function baseOf(
  { dnsPolicy, hostNetwork }: Pod['spec'],
  { clusterDNS, clusterDomain, node }: DnsSources,
  namespace: string,
): DnsSettings | undefined {
  if (dnsPolicy === 'None') return { servers: [], searches: [], options: [] };
  const isCluster = dnsPolicy === 'ClusterFirstWithHostNet';
  if (!isCluster && (dnsPolicy === 'Default' || hostNetwork)) return node;
  if (clusterDNS.length === 0) return undefined;
  const own =
    clusterDomain === ''
      ? []
      : [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
  return {
    servers: clusterDNS,
    searches: unique([...own, ...node.searches]),
    options: ['ndots:5'],
  };
}

function merged(base: DnsSettings, own: Pod['spec']['dnsConfig']): DnsSettings {
  if (own === undefined) return base;
  const options = new Map(base.options.map((option) => [nameOf(option), option]));
  for (const { name, value } of own.options ?? []) {
    options.set(name, value === undefined || value === '' ? name : `${name}:${value}`);
  }
  return {
    servers: unique([...base.servers, ...(own.nameservers ?? [])]),
    searches: unique([...base.searches, ...(own.searches ?? [])]),
    options: [...options.values()],
  };
}

function limited(
  { servers, searches, options }: DnsSettings,
  warn: (reason: string, message: string) => void,
): DnsSettings {
  const kept = fittingSearches(searches);
  if (kept.length < searches.length) {
    warn(
      'DNSConfigForming',
      `Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ${kept.join(' ')}`,
    );
  }
  const asked = servers.slice(0, mostServers);
  if (asked.length < servers.length) {
    warn(
      'DNSConfigForming',
      `Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ${asked.join(' ')}`,
    );
  }
  return { servers: asked, searches: kept, options };
}

function fittingSearches(searches: readonly string[]): readonly string[] {
  const kept: string[] = [];
  let characters = -1;
  for (const search of searches.filter(({ length }) => length <= longestSearch)) {
    characters += search.length + 1;
    if (kept.length === mostSearches || characters > mostSearchCharacters) break;
    kept.push(search);
  }
  return kept;
}

/** Reads a resolv.conf: all of its nameservers, its last search and options lines. */
export function parseResolvConf(text: string): DnsSettings {
  const servers: string[] = [];
  let searches: readonly string[] = [];
  let options: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    if (keyword === 'nameserver' && values[0] !== undefined) servers.push(values[0]);
    if (keyword === 'search') searches = values.map(withoutLastDot);
    if (keyword === 'options') options = values;
  }
  return { servers, searches, options };
}

/** Where the configuration names no resolv.conf. */
export function dnsOfNoFile(nodeIP: string): DnsSettings {
  return { servers: [nodeIP.includes(':') ? '::1' : '127.0.0.1'], searches: ['.'], options: [] };
}

function withoutLastDot(domain: string): string {
  return domain === '.' ? domain : domain.replace(/\.$/, '');
}

function nameOf(option: string): string {
  return option.split(':')[0] ?? option;
}

function unique(values: readonly string[]): readonly string[] {
  return [...new Set(values)];
}
