import type { ToolRunner } from '../../host/run-tool.ts';
import { parseAddress } from '../../ip/address.ts';
import type { Address, Family } from '../../ip/address.ts';
import type { Protocol } from '../../services/service-port.ts';
import { saveSets } from '../iptables/ipsets.ts';
import { isIpvsModeSet } from '../iptables/ipvs-names.ts';
import type { FoundMembers } from '../iptables/kept-sets.ts';
import { virtualServerKey } from './servers.ts';
import { frontendMember } from './sets.ts';
import type { IpvsState, ServerPlace, VirtualServerKey } from './state.ts';

/** A virtual server has no room for a name: which are ours is known from what lies beside them. */
export class Ownership {
  readonly #members: ReadonlySet<string>;
  /** Of kube-proxy, which names node ports without addresses: `tcp:30080`. */
  readonly #ports: ReadonlySet<string>;
  readonly #bound: ReadonlySet<Address>;
  /** Of Switchyard: each has, or had, a virtual server. */
  readonly #served: readonly string[];
  /** Of Switchyard: marked, and so let past what refuses. */
  readonly #marked: readonly string[];

  /** `sets`: all that there are; some of them name virtual servers. */
  constructor(sets: FoundMembers, bound: Iterable<Address>) {
    const names = [...sets].filter(([name]) => naming.test(name));
    this.#members = new Set(names.flatMap(([name, members]) => (isPorts(name) ? [] : members)));
    this.#ports = new Set(
      names.flatMap(([name, members]) =>
        isPorts(name) ? members.map((port) => `${protocolOf(name)}:${port}`) : [],
      ),
    );
    this.#bound = new Set(bound);
    this.#served = names.flatMap(([name, members]) => (served.test(name) ? members : []));
    this.#marked = [...sets].flatMap(([name, members]) => (marked.test(name) ? members : []));
  }

  /** Whether Switchyard or kube-proxy in its ipvs mode made the server. */
  isOurs({ address, protocol, port }: Omit<ServerPlace, 'key'>): boolean {
    return (
      this.#bound.has(address) ||
      this.#members.has(frontendMember(address, protocol, port)) ||
      this.#ports.has(`${protocol.toLowerCase()}:${port}`)
    );
  }

  /**
   * What the rules of an agent that was killed take for served, or still mark, though its virtual server is gone, at addresses
   * that are bound or will be.
   */
  formerPlaces(
    { addresses, servers }: Pick<IpvsState, 'addresses' | 'servers'>,
    found: { has(key: VirtualServerKey): boolean },
  ): readonly ServerPlace[] {
    const members = new Set([...this.#served, ...this.#marked]);
    const all = [...members].flatMap((member) => placeOf(member) ?? []);
    return all.filter(
      ({ key, address }) => addresses.has(address) && !servers.has(key) && !found.has(key),
    );
  }

  /** Whether a set of ours names a virtual server that is not among those that were found. */
  namesMoreThan(found: Iterable<Omit<ServerPlace, 'key'>>): boolean {
    const members = new Set<string>();
    for (const { address, protocol, port } of found)
      members.add(frontendMember(address, protocol, port));
    return this.#served.some((member) => !members.has(member));
  }
}

/** A member of a set of frontends, taken apart: `10.96.0.10,tcp:80`. */
function placeOf(member: string): ServerPlace | undefined {
  const [, text = '', name = '', port] = /^(.+),(tcp|udp|sctp):(\d+)$/.exec(member) ?? [];
  const address = parseAddress(text);
  if (address === undefined) return undefined;
  const [protocol, at] = [name.toUpperCase() as Protocol, Number(port)];
  return { key: virtualServerKey(protocol, address, at), address, protocol, port: at };
}

const served = /^KUBE-(?:6-)?IPVS-SERVED-\d+$/;
const marked = /^KUBE-(?:6-)?IPVS-MASQ-(?:ALL|OTHERS)-\d+$/;

/**
 * The sets that name virtual servers: ours of any version, and kube-proxy's. IPv6 names are
 * cut to 31 characters.
 */
const naming =
  /^KUBE-(?:6-)?(?:IPVS-(?:SERVED|REJECTED|DROP-ALL|CLOSED)-\d+|CLUSTER-IP|EXTERNAL-IP(?:-LOCAL)?|LOAD-BALANCER|NODE-PORT-(?:TCP|UDP|SCTP-HASH))$/;

/** Whether a set is kube-proxy's. */
export function isUpstreamNaming(set: string): boolean {
  return naming.test(set) && !isIpvsModeSet(set);
}

function isPorts(set: string): boolean {
  return /NODE-PORT-(?:TCP|UDP)$/.test(set);
}

function protocolOf(set: string): string {
  return set.endsWith('-TCP') ? 'tcp' : 'udp';
}

/** The members of the sets that are ours or kube-proxy's, of both families or of one. */
export async function readMembers(
  family: Family | 'both',
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<FoundMembers> {
  return savedMembers(await saveSets(tools, signal), family);
}

/** Reads what `ipset save` prints. */
export function savedMembers(saved: string, family: Family | 'both'): FoundMembers {
  const sets = new Map<string, string[]>();
  for (const line of saved.split('\n')) {
    const [, command, name = '', rest = ''] = /^(create|add) (KUBE-\S+) (\S+)/.exec(line) ?? [];
    const isOfFamily = family === 'both' || name.startsWith('KUBE-6-') === (family === 'ipv6');
    const isKnown = naming.test(name) || isIpvsModeSet(name);
    if (command === 'create' && isOfFamily && isKnown) sets.set(name, []);
    else if (command === 'add') sets.get(name)?.push(rest);
  }
  return sets;
}
