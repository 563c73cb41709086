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
      return letsInMeanwhile(change, have, target) ? [target] : [];
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
 * Others' packets come to be taken where they were dropped, or dropped where they were taken, since another Service has the frontend or its own
 * has changed. They are let in by marks, which come before real servers are changed and go after that: while both are so, a packet would
 * reach real servers that are not for it, the former ones or the new.
 */
function letsInMeanwhile(change: UpcomingSync, have: KernelServer, target: TargetServer): boolean {
  const { state, membersBefore } = change;
  const set = ipvsSet('DROP-OTHERS', state.family);
  const member = frontendMember(target.address, target.protocol, target.port);
  const dropped = holds(membersBefore(set), member);
  const isDropped = holds(state.rules.sets.get(set)?.members, member);
  const { wanted } = target;
  if (dropped === isDropped || wanted === undefined) return false;
  const [before, after] = [opened(have.realServers), opened(wanted.realServers)];
  return dropped ? !isWithin(before, after) : !isWithin(after, before);
}

/** Real servers that take new connections; what drains does not. */
function opened(servers: ReadonlyMap<string, { readonly weight: number }>): ReadonlySet<string> {
  return new Set([...servers].flatMap(([key, { weight }]) => (weight > 0 ? [key] : [])));
}

function isWithin(some: ReadonlySet<string>, all: ReadonlySet<string>): boolean {
  return [...some].every((each) => all.has(each));
}
