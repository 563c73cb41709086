import { ProxyFields } from '../config/proxy-fields.ts';
import type { FlagSpec, FlagTable, FlagValues } from '../config/flag-table.ts';
import { proxyFlags } from '../config/proxy-flags.ts';
import { closest } from '../config/suggest.ts';
import { SwitchyardError } from '../error.ts';
import { compileAll } from '../graph/compile.ts';
import type { RuleGraph } from '../graph/rule-graph.ts';
import type { Kind } from '../informer/kind.ts';
import { readManifestPaths } from '../informer/manifest-files.ts';
import { manifestProblemText, parseManifestFile } from '../informer/manifests.ts';
import type { ManifestSet } from '../informer/manifests.ts';
import { parseAddress } from '../ip/address.ts';
import type { Address, Family } from '../ip/address.ts';
import { parseCidr } from '../ip/cidr.ts';
import type { Cidr } from '../ip/cidr.ts';
import { nodeContextOf, servesLocalhostNodePorts } from '../proxy/node-context.ts';
import type { NodeFacts, NodeSettings } from '../proxy/node-context.ts';
import { nodeOwners } from '../proxy/node-owners.ts';
import { endpointSliceKind } from '../services/endpoint-slice-kind.ts';
import { nodeAddresses } from '../services/node-addresses.ts';
import { anyNodeKind } from '../services/node-kind.ts';
import type { NodeObject, ServiceObject } from '../services/objects.ts';
import { ServiceCatalog } from '../services/service-catalog.ts';
import type {
  CatalogChanges,
  CatalogOptions,
  CatalogProblem,
} from '../services/service-catalog.ts';
import { serviceCidrKind } from '../services/service-cidr-kind.ts';
import { recallingServiceKind } from '../services/service-kind.ts';
import type { LookingProcess } from './source-objects.ts';

/** Settings of the proxy that change what is rendered, under the proxy's own names. */
const proxyFlagNames = new Set([
  'iptables-masquerade-bit',
  'masquerade-all',
  'iptables-localhost-nodeports',
  'nodeport-addresses',
  'detect-local-mode',
  'cluster-cidr',
  'pod-bridge-interface',
  'pod-interface-name-prefix',
]);

/** Where objects come from instead of manifests, under the proxy's own names. */
const sourceFlagNames = new Set(['source', 'kubeconfig', 'master']);

const ownFlags: readonly FlagSpec[] = [
  {
    name: 'filename',
    short: 'f',
    type: 'list',
    placeholder: 'PATH',
    help: 'Manifests: a file, a directory (YAML or JSON), or - for the standard input; may be repeated.',
  },
  {
    name: 'node-name',
    type: 'string',
    placeholder: 'NAME',
    help: 'The node to look from. Default: the only Node among the manifests.',
  },
  {
    name: 'service-cidr',
    type: 'list',
    placeholder: 'CIDR',
    help: 'Prefixes of cluster IPs, beside those of ServiceCIDR objects among the manifests.',
  },
];

const sourceHelp =
  'Instead of -f, what is there now: kubernetes (the cluster that --kubeconfig names), file:PATH or an http(s) URL.';

/** Whether the flags name objects to compile, manifests or a source. */
export function namesObjects(flags: FlagValues): boolean {
  return flags.list('filename').length > 0 || flags.list('source').length > 0;
}

/** The flags every command has that compiles manifests without a cluster. */
export const offlineFlags: FlagTable = [
  ...ownFlags,
  ...proxyFlags
    .filter(({ name }) => sourceFlagNames.has(name))
    .map((flag) => (flag.name === 'source' ? { ...flag, help: sourceHelp } : flag)),
  ...proxyFlags.filter((flag) => proxyFlagNames.has(flag.name)),
];

/** One family of the manifests. */
export interface OfflineFamily {
  readonly graph: RuleGraph;
  readonly servicePorts: CatalogChanges['servicePorts'];
  /** Services without a port here, and why. */
  readonly skipped: CatalogChanges['skipped'];
}

/** Rule graphs compiled from manifests: no root, no kernel, no API server. */
export interface Offline {
  readonly nodeName: string;
  readonly families: ReadonlyMap<Family, OfflineFamily>;
  readonly masqueradeMark: number;
  /** Addresses of other Nodes among the manifests, and whose each is. */
  readonly nodeOwners: ReadonlyMap<Address, string>;
  readonly localhostNodePorts: (family: Family) => boolean;
  /** What could not be used, one line each; the rest is in the graphs. */
  readonly problems: readonly string[];
}

/**
 * Reads the manifests the flags name and compiles a graph for each family. A path that cannot be read
 * is a usage error: rules for nothing must not pass for the rules of what was meant.
 */
export async function loadOffline(
  flags: FlagValues,
  morePaths: readonly string[],
  io: ObjectReaders,
): Promise<Offline> {
  const paths = [...flags.list('filename'), ...morePaths];
  const warnings: string[] = [];
  const settings = settingsOf(flags, (text) => warnings.push(text));
  const services = recallingServiceKind();
  const manifests = await readObjects(flags, paths, io, services.kind);
  const facts = factsOf(flags, manifests);
  const problems = [
    ...warnings,
    ...manifests.problems.map(manifestProblemText),
    ...withoutServices(placeOf(flags, paths), manifests.of(services.kind)),
    ...unknownNode(facts.nodeName, manifests),
  ];
  const families = new Map<Family, OfflineFamily>();
  for (const family of ['ipv4', 'ipv6'] as const) {
    const changes = catalogOf(manifests, services.kind, { ...facts, family });
    const { servicePorts } = changes;
    problems.push(...changes.problems.map(problemText));
    const graph = compileAll(servicePorts, nodeContextOf(settings, facts, family));
    const skipped = new Map([...services.unselected, ...changes.skipped]);
    families.set(family, { graph, servicePorts, skipped });
  }
  return {
    nodeName: facts.nodeName,
    families,
    masqueradeMark: 2 ** settings.masqueradeBit,
    nodeOwners: nodeOwners(manifests.of(anyNodeKind), facts.nodeName),
    localhostNodePorts: (family) => servesLocalhostNodePorts(settings, family),
    problems: [...new Set(problems)],
  };
}

/** What reading takes of the process. */
export interface ObjectReaders extends LookingProcess {
  readonly stdin: () => Promise<string>;
}

async function readObjects(
  flags: FlagValues,
  paths: readonly string[],
  io: ObjectReaders,
  services: Kind<ServiceObject>,
): Promise<ManifestSet> {
  if (flags.list('source').length === 0) return readManifests(paths, io.stdin, services);
  if (paths.length > 0) {
    throw new SwitchyardError('usage', '-f and --source: expected one of them');
  }
  const fields = new ProxyFields(flags);
  const config = fields.source();
  fields.check();
  const { readSource } = await import('./source-objects.ts');
  const kinds = [services, endpointSliceKind, anyNodeKind, serviceCidrKind];
  return readSource(config, kinds, [serviceCidrKind], io);
}

function placeOf(flags: FlagValues, paths: readonly string[]): string {
  return [...paths, ...flags.list('source')].join(', ');
}

async function readManifests(
  paths: readonly string[],
  stdin: () => Promise<string>,
  services: Kind<ServiceObject>,
): Promise<ManifestSet> {
  if (paths.length === 0) {
    throw new SwitchyardError('usage', 'no manifests: expected -f PATH', { hint: pathHint });
  }
  const kinds = [services, endpointSliceKind, anyNodeKind, serviceCidrKind];
  const named = paths.filter((path) => path !== '-');
  const piped = paths.includes('-')
    ? [await parseManifestFile(await stdin(), 'standard input', kinds)]
    : [];
  const manifests = await readManifestPaths(named, kinds, piped);
  const unread = manifests.problems.filter(
    ({ file, document }) => document === 0 && named.includes(file),
  );
  if (unread.length === 0) return manifests;
  const lines = unread.map((problem) => `-f ${manifestProblemText(problem)}`);
  throw new SwitchyardError('usage', lines.join('\n'), { hint: pathHint });
}

const pathHint = 'name a file or directory with Services and EndpointSlices, e.g. -f examples/';

function withoutServices(place: string, services: readonly ServiceObject[]): readonly string[] {
  if (services.length > 0) return [];
  return [`no Service to serve in ${place}: only the rules every node has are left`];
}

/** A node that nothing in the manifests speaks of is most likely misspelt. */
function unknownNode(name: string, manifests: ManifestSet): readonly string[] {
  const nodes = manifests.of(anyNodeKind).map(({ meta }) => meta.name);
  const hosts = manifests.of(endpointSliceKind).flatMap(({ endpoints }) => endpoints);
  const known = new Set([...nodes, ...hosts.map(({ nodeName }) => nodeName).filter(present)]);
  if (name === '' || known.size === 0 || known.has(name)) return [];
  const guess = closest(name, [...known]);
  const advice = guess === undefined ? '' : `; did you mean ${guess}?`;
  return [`--node-name: the manifests have no Node ${name}, and no endpoint on it${advice}`];
}

function settingsOf(
  flags: FlagValues,
  warn: (text: string) => void,
): NodeSettings & { readonly masqueradeBit: number } {
  const fields = new ProxyFields(flags, warn);
  const settings = {
    detectLocal: fields.detectLocal(),
    clusterCidrs: fields.clusterCidrs(),
    nodePortAddresses: fields.nodePortAddresses(),
    localhostNodePorts: flags.bool('iptablesLocalhostNodeports'),
    masqueradeAll: flags.bool('masqueradeAll'),
    masqueradeBit: fields.intWithin('iptablesMasqueradeBit', 0, 31),
  };
  fields.check();
  return settings;
}

/** The node as the manifests describe it: its interfaces have the addresses of its status, and loopback. */
function factsOf(
  flags: FlagValues,
  manifests: ManifestSet,
): NodeFacts & { zone: string | undefined } {
  const nodes = manifests.of(anyNodeKind);
  const nodeName = flags.text('nodeName') || onlyNode(nodes);
  const node = nodes.find((candidate) => candidate.meta.name === nodeName);
  const nodeIPs = node ? nodeAddresses(node) : [];
  const status = (node?.addresses ?? []).map(({ address }) => parseAddress(address));
  const interfaceAddresses = ['127.0.0.1' as Address, '::1' as Address, ...status.filter(present)];
  return {
    nodeName,
    zone: node?.zone,
    nodeIPs,
    interfaceAddresses: [...new Set(interfaceAddresses)],
    podCidrs: (node?.podCIDRs ?? []).map(parseCidr).filter(present),
    serviceCidrs: serviceCidrsOf(flags, manifests),
  };
}

function onlyNode(nodes: readonly NodeObject[]): string {
  const [node, ...others] = nodes;
  if (others.length === 0) return node?.meta.name ?? '';
  const names = nodes.map((each) => each.meta.name).toSorted();
  throw new SwitchyardError(
    'usage',
    `the manifests have ${nodes.length} Nodes (${names.join(', ')})`,
    {
      hint: 'choose one with --node-name=NAME',
    },
  );
}

function serviceCidrsOf(flags: FlagValues, manifests: ManifestSet): readonly Cidr[] {
  const given = flags.list('serviceCidr').map((text) => {
    const cidr = parseCidr(text);
    if (cidr !== undefined) return cidr;
    throw new SwitchyardError('usage', `--service-cidr: ${JSON.stringify(text)} is not a CIDR`);
  });
  const objects = manifests.of(serviceCidrKind).flatMap((object) => object.cidrs.map(parseCidr));
  return [...new Set([...given, ...objects.filter(present)])];
}

function catalogOf(
  manifests: ManifestSet,
  services: Kind<ServiceObject>,
  { family, nodeName, zone }: CatalogOptions,
): CatalogChanges {
  const catalog = new ServiceCatalog({ family, nodeName, zone });
  for (const service of manifests.of(services)) catalog.setService(service);
  for (const slice of manifests.of(endpointSliceKind)) catalog.setSlice(slice);
  return catalog.take();
}

function problemText({ place, object, reason }: CatalogProblem): string {
  return [place, object, reason].filter(present).join(': ');
}

function present<T>(value: T | undefined): value is T {
  return value !== undefined;
}
