import { serviceLink } from '../../host/interfaces.ts';
import type { ObservedSet } from '../iptables/ipsets.ts';
import type { IpsetSpec, SetName } from '../iptables/state.ts';
import type { Address } from '../../ip/address.ts';
import type { BoundAddresses } from './device.ts';
import type { KernelServer } from './diff.ts';
import type { ObservedServer, ObservedServers } from './kernel-table.ts';
import { isScheduledAs } from './server-table.ts';
import type { VirtualServerKey } from './state.ts';

/** Why the virtual servers are no longer what was written last, or undefined while they are. */
export function serversReason(
  written: ReadonlyMap<VirtualServerKey, KernelServer>,
  observed: ObservedServers,
  isOurs: (server: ObservedServer) => boolean,
): string | undefined {
  for (const [key, server] of written) {
    const found = observed.get(key);
    if (found === undefined) return `virtual server ${key} is gone`;
    const reason = serverReason(server, found);
    if (reason !== undefined) return reason;
  }
  for (const [key, server] of observed) {
    if (!written.has(key) && isOurs(server))
      return `a second writer: virtual server ${key} is at an address of ${serviceLink} and not ours`;
  }
  return undefined;
}

function serverReason(server: KernelServer, found: ObservedServer): string | undefined {
  const { key, wanted } = server;
  if (wanted !== undefined && !isScheduledAs(found, wanted)) {
    const kept = found.persistentTicks === undefined ? 'not persistent' : 'persistent';
    return `virtual server ${key} is ${found.scheduler}, ${kept}, expected ${server.args}`;
  }
  for (const [real, { weight }] of server.realServers) {
    const there = found.realServers.get(real);
    if (there === undefined) return `real server ${real} of ${key} is gone`;
    if (there.weight !== weight || !there.isMasqueraded)
      return `real server ${real} of ${key} has weight ${there.weight}, expected ${weight}`;
  }
  for (const real of found.realServers.keys()) {
    if (!server.realServers.has(real)) return `real server ${real} of ${key} is not ours`;
  }
  return undefined;
}

/** Why the addresses of kube-ipvs0 are no longer what was written last. */
export function addressesReason(
  written: ReadonlySet<Address>,
  bound: BoundAddresses,
  isExcluded: (address: Address) => boolean,
): string | undefined {
  if (bound === undefined) return written.size === 0 ? undefined : `${serviceLink} is gone`;
  for (const address of written)
    if (!bound.has(address)) return `${address} is gone from ${serviceLink}`;
  for (const address of bound) {
    if (!written.has(address) && !isExcluded(address))
      return `${address} on ${serviceLink} is not ours`;
  }
  return undefined;
}

/** Why the sets are no longer what was written last, as far as their number of members tells. */
export function setsReason(
  written: ReadonlyMap<SetName, IpsetSpec>,
  observed: readonly ObservedSet[],
): string | undefined {
  const there = new Map(observed.map((set) => [set.name, set]));
  for (const [name, { members }] of written) {
    const found = there.get(name);
    if (found === undefined) return `ipset ${name} is gone`;
    const count = memberCount(members);
    if (count === undefined || found.entries === undefined || found.entries === count) continue;
    return `ipset ${name} has ${found.entries} members, expected ${count}`;
  }
  return undefined;
}

/** Why the sets are no longer what was written last, member by member, of what `ipset save` prints. */
export function membersReason(
  written: ReadonlyMap<SetName, IpsetSpec>,
  saved: string,
): string | undefined {
  const wanted = new Map([...written].map(([name, spec]) => [name as string, lookup(spec)]));
  const counts = new Map<string, number>();
  for (const line of saved.split('\n')) {
    const [command, name = '', member = ''] = line.split(' ', 3);
    const members = wanted.get(name);
    if (members === undefined) continue;
    if (command === 'create') counts.set(name, 0);
    else if (members === 'any') continue;
    else if (members.has(member)) counts.set(name, (counts.get(name) ?? 0) + 1);
    else return `${member} in ipset ${name} is not ours`;
  }
  for (const [name, members] of wanted) {
    const reason = countReason(name, members, counts.get(name));
    if (reason !== undefined) return reason;
  }
  return undefined;
}

function countReason(
  name: string,
  members: Members,
  count: number | undefined,
): string | undefined {
  if (count === undefined) return `ipset ${name} is gone`;
  if (members === 'any' || count === members.size) return undefined;
  return `ipset ${name} has ${count} members, expected ${members.size}`;
}

/** `any`: no state says which there are. */
type Members = Pick<ReadonlySet<string>, 'has' | 'size'> | 'any';

function lookup({ members }: IpsetSpec): Members {
  if (members === undefined) return 'any';
  return 'has' in members ? members : new Set(members);
}

function memberCount(members: IpsetSpec['members']): number | undefined {
  if (members === undefined) return undefined;
  return 'size' in members ? members.size : members.length;
}
