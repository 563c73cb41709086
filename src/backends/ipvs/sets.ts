import type { Address, Family } from '../../ip/address.ts';
import type { Cidr } from '../../ip/cidr.ts';
import { cidrAddress, prefixLength } from '../../ip/cidr.ts';
import type { Protocol } from '../../services/service-port.ts';
import { protocolText } from '../iptables/chain-names.ts';
import { SetVersions } from '../iptables/set-versions.ts';
import type { IpsetSpec, SetMembers, SetName } from '../iptables/state.ts';
import type { IpvsFeatures } from './options.ts';

/** What a set says of its members; docs/adr/0008-ipvs-layout.md. */
export type SetRole =
  | 'CLOSED'
  | 'SERVED'
  | 'MASQ-ALL'
  | 'MASQ-OTHERS'
  | 'GUARDED'
  | 'ALLOWED'
  | 'ALLOWED-OWN'
  | 'DROP-ALL'
  | 'DROP-OTHERS'
  | 'REJECTED'
  | 'BOUND'
  | 'HEALTH'
  | 'HAIRPIN';

/**
 * The order is the one in which members come (they go in the opposite one): what restricts before what lets in. A type
 * never changes under a name: another type is another version.
 */
const types: Readonly<Record<SetRole, { readonly type: string; readonly version: number }>> = {
  CLOSED: { type: 'hash:ip,port', version: 1 },
  'MASQ-ALL': { type: 'hash:ip,port', version: 1 },
  'MASQ-OTHERS': { type: 'hash:ip,port', version: 1 },
  ALLOWED: { type: 'hash:ip,port,net', version: 1 },
  'ALLOWED-OWN': { type: 'hash:ip,port,ip', version: 1 },
  GUARDED: { type: 'hash:ip,port', version: 1 },
  'DROP-OTHERS': { type: 'hash:ip,port', version: 1 },
  'DROP-ALL': { type: 'hash:ip,port', version: 1 },
  REJECTED: { type: 'hash:ip,port', version: 1 },
  HEALTH: { type: 'bitmap:port', version: 1 },
  HAIRPIN: { type: 'hash:ip,port,ip', version: 1 },
  SERVED: { type: 'hash:ip,port', version: 1 },
  BOUND: { type: 'hash:ip', version: 1 },
};

/** The sets that rules look into, in the order in which they are made. */
export function setRoles({ hairpin }: Pick<IpvsFeatures, 'hairpin'>): readonly SetRole[] {
  const roles = Object.keys(types) as readonly SetRole[];
  return hairpin === 'ipset' ? roles : roles.filter((role) => role !== 'HAIRPIN');
}

/** `KUBE-IPVS-SERVED-1`, IPv6 `KUBE-6-IPVS-SERVED-1`. With the `-T` of an exchange at most 31 characters. */
export function ipvsSet(role: SetRole, family: Family): SetName {
  const prefix = family === 'ipv4' ? 'KUBE' : 'KUBE-6';
  return `${prefix}-IPVS-${role}-${types[role].version}` as SetName;
}

/** What follows the name where the set is made. */
function createText(role: SetRole, family: Family): string {
  const { type } = types[role];
  if (type === 'bitmap:port') return `${type} range 0-65535`;
  const inet = family === 'ipv4' ? 'inet' : 'inet6';
  return `${type} family ${inet} hashsize 1024 maxelem 1048576`;
}

/** A frontend as a member: `10.96.0.10,tcp:80`. */
export function frontendMember(address: Address, protocol: Protocol, port: number): string {
  return `${address},${protocolText(protocol)}:${port}`;
}

/** Whether a set of a state, or of the kernel, has a member. */
export function holds(members: SetMembers | undefined, member: string): boolean {
  if (members === undefined) return false;
  return 'has' in members ? members.has(member) : members.includes(member);
}

/** A range of sources as ipset keeps it: a prefix that is one address is written without its length. */
export function rangeText(range: Cidr): string {
  const isOne = prefixLength(range) === (range.includes(':') ? 128 : 32);
  return isOne ? cidrAddress(range) : range;
}

/** The set whose members the backend puts in and takes out as it goes: none of them is in a state. */
export function closedSet(family: Family): IpsetSpec {
  const create = createText('CLOSED', family);
  return { name: ipvsSet('CLOSED', family), create, members: undefined };
}

/** A set of ours as it goes from one state to the next. */
export function setVersions(role: SetRole, family: Family): SetVersions {
  return new SetVersions(ipvsSet(role, family), createText(role, family));
}
