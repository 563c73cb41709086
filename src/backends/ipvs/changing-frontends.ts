import type { Address } from '../../ip/address.ts';
import type { SetMembers, SetName } from '../iptables/state.ts';
import type { BoundAddresses } from './device.ts';
import type { KernelServer, TargetServer } from './diff.ts';
import type { Targets } from './server-table.ts';
import { frontendMember, holds, ipvsSet } from './sets.ts';
import type { IpvsState, ServerPlace, VirtualServerKey } from './state.ts';

/** A sync that is about to begin. */
export interface UpcomingSync {
  readonly targets: Targets;
  readonly state: IpvsState;
  readonly there: ReadonlyMap<VirtualServerKey, KernelServer>;
  readonly bound: BoundAddresses;
  /** What a set holds before it. */
  readonly membersBefore: (set: SetName) => SetMembers | undefined;
}

/**
 * The frontends that have to be closed while a sync changes them, or a packet would meet what neither the old state nor the new
 * one has for it.
 */
export function changingFrontends(change: UpcomingSync): readonly ServerPlace[] {
  return [...change.targets].flatMap(([key, target]) => {
    const have = change.there.get(key);
    if (have !== undefined && target !== undefined)
      return isOpenedEarly(change, have, target) ? [target] : [];
    const place = target ?? have;
    if (place === undefined) return [];
    return isNodesOwnMeanwhile(change, place.address, target !== undefined) ? [place] : [];
  });
}

/** An address that comes or goes itself is not the node's while its virtual server is not there. */
function isNodesOwnMeanwhile(
  { bound, state }: UpcomingSync,
  address: Address,
  comes: boolean,
): boolean {
  const isBound = bound?.has(address) === true;
  const staysBound = state.addresses.has(address);
  return comes ? isBound || !staysBound : !isBound || staysBound;
}

/**
 * A frontend that dropped others' packets comes to take them, from another Service or by a change of its own: these come to be
 * marked, and so let in, before the virtual server has lost the real servers that are not for them.
 */
function isOpenedEarly(change: UpcomingSync, have: KernelServer, target: TargetServer): boolean {
  const { state, membersBefore } = change;
  const set = ipvsSet('DROP-OTHERS', state.family);
  const member = frontendMember(target.address, target.protocol, target.port);
  const opens =
    holds(membersBefore(set), member) && !holds(state.rules.sets.get(set)?.members, member);
  return opens && losesRealServers(have, target);
}

/** Whether new connections go to a real server that is not wanted: what drains of the target is none that is. */
function losesRealServers({ realServers }: KernelServer, { wanted }: TargetServer): boolean {
  if (wanted === undefined) return false;
  return [...realServers].some(([key, { weight }]) => weight > 0 && !wanted.realServers.has(key));
}
