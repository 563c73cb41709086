import type { RuleGraph } from '../../src/graph/rule-graph.ts';
import type { Protocol } from '../../src/services/service-port.ts';
import type { NodeLab } from '../support/node-lab.ts';
import type { RawService } from '../upstream/objects.ts';
import { linkAddresses } from './guest-twins.ts';

/** A virtual server as `ipvsadm --save` tells it. */
interface SavedServer {
  /** What follows `-A`, its place aside: ` -s rr -p 10800`. */
  readonly how: string;
  /**
   * `10.244.0.5:8080 -m -w 1`, sorted. Without those of weight 0, which drain: kube-proxy looks once a minute for what is
   * drained.
   */
  readonly realServers: readonly string[];
}

/** By place: `TCP 10.96.0.1:80`, `UDP [fd00::1]:53`; the node's own way to the control plane is called `link`. */
export type SavedServers = ReadonlyMap<string, SavedServer>;

const protocols: Readonly<Record<string, Protocol>> = {
  '-t': 'TCP',
  '-u': 'UDP',
  '--sctp-service': 'SCTP',
};

/** The virtual servers of a node. */
export async function savedServers(lab: NodeLab): Promise<SavedServers> {
  const servers = new Map<string, SavedServer & { readonly realServers: string[] }>();
  for (const line of (await lab.onNode('ipvsadm', '--save', '--numeric')).split('\n')) {
    const [, verb, flag = '', place = '', rest = ''] = /^-(A|a) (\S+) (\S+)(.*)$/.exec(line) ?? [];
    if (verb === undefined) continue;
    const key = `${protocols[flag] ?? flag} ${withoutLink(place)}`;
    if (verb === 'A') servers.set(key, { how: rest, realServers: [] });
    else if (!rest.endsWith(' -w 0')) servers.get(key)?.realServers.push(rest.replace(/^ -r /, ''));
  }
  for (const { realServers } of servers.values()) realServers.sort();
  return servers;
}

/** A place at which the virtual servers of two nodes differ. */
export interface ServerDifference {
  readonly place: string;
  readonly ours: string;
  readonly theirs: string;
}

/** Where they differ; `none` stands for no virtual server, and for one without a real server as well. */
export function compareServers(
  ours: SavedServers,
  theirs: SavedServers,
): readonly ServerDifference[] {
  const places = [...new Set([...ours.keys(), ...theirs.keys()])].toSorted();
  return places.flatMap((place) => {
    const difference = { place, ours: told(ours.get(place)), theirs: told(theirs.get(place)) };
    return difference.ours === difference.theirs ? [] : [difference];
  });
}

/** Whether a place is without a real server here because a Local policy finds no endpoint on the node. */
export function isLocalWithoutEndpoints(
  { place, ours }: ServerDifference,
  { frontends }: RuleGraph,
): boolean {
  if (ours !== 'none') return false;
  const wanted = partsOf(place);
  return [...frontends.values()].some(
    ({ protocol, address, port, branches }) =>
      protocol === wanted.protocol &&
      port === wanted.port &&
      (address === undefined || address === wanted.address) &&
      branches.at(-1)?.to.kind === 'drop',
  );
}

/** Whether several Services claim a place: which of them has it upstream depends on the order in which it visits them. */
export function isContested({ place }: ServerDifference, services: readonly RawService[]): boolean {
  const { protocol, address, port } = partsOf(place);
  const claims = (service: RawService): boolean =>
    claimedBy(service).includes(address) &&
    service.spec.ports?.some((each) => each.protocol === protocol && each.port === port) === true;
  const hasNodePort = ({ spec }: RawService): boolean =>
    spec.ports?.some((each) => each.protocol === protocol && each.nodePort === port) === true;
  return services.filter((each) => claims(each) || hasNodePort(each)).length > 1;
}

function claimedBy({ spec, status }: RawService): readonly string[] {
  const ingress = status?.loadBalancer?.ingress ?? [];
  return [...(spec.externalIPs ?? []), ...ingress.flatMap(({ ip }) => ip ?? [])];
}

function partsOf(place: string): {
  readonly protocol: string;
  readonly address: string;
  readonly port: number;
} {
  const [protocol = '', at = ''] = place.split(' ');
  const colon = at.lastIndexOf(':');
  const address = at.slice(0, colon).replaceAll(/[[\]]/g, '');
  return { protocol, address, port: Number(at.slice(colon + 1)) };
}

function told(server: SavedServer | undefined): string {
  if (server === undefined || server.realServers.length === 0) return 'none';
  return `${server.how.trim()}: ${server.realServers.join(', ')}`;
}

function withoutLink(place: string): string {
  const own = Object.values(linkAddresses).find((address) => place.startsWith(`${address}:`));
  return own === undefined ? place : place.replace(own, 'link');
}
