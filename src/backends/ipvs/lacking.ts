import type { Address } from '../../ip/address.ts';
import type { SwitchyardError } from '../../error.ts';
import { SetsError } from '../iptables/ipsets.ts';
import type { KernelServer, TargetServer } from './diff.ts';
import type { Targets } from './server-table.ts';
import { frontendMember } from './sets.ts';
import type { ServerPlace, VirtualServerKey } from './state.ts';

/**
 * What sets lack of what a state asks for. Without their members, virtual servers and addresses that are new would let in whom
 * source ranges keep out, hide no source and lead to the node's own sockets: they have to wait.
 */
export class Lacking {
  readonly #begins: ReadonlySet<string> | undefined;

  /** `failure`: why the sets could not be made, if they could not. */
  constructor(failure: SwitchyardError | undefined) {
    const members = failure instanceof SetsError ? failure.members : undefined;
    const lacking = failure === undefined ? [] : members;
    this.#begins = lacking && new Set(lacking.map(beginning));
  }

  /** Nobody knows what sets hold. */
  get isUnknown(): boolean {
    return this.#begins === undefined;
  }

  get isNothing(): boolean {
    return this.#begins?.size === 0;
  }

  /**
   * The servers that have to wait, since their members are not in. Where nobody knows which are, those that stay with their Service
   * follow its endpoints even so.
   */
  heldBack(
    targets: Targets,
    there: ReadonlyMap<VirtualServerKey, KernelServer>,
  ): ReadonlySet<VirtualServerKey> {
    const waiting = [...targets].flatMap(([key, target]) => {
      const have = there.get(key);
      const place = target ?? have;
      const stays = have !== undefined && target !== undefined && isOfOneService(have, target);
      if (place === undefined || (stays && this.isUnknown)) return [];
      return this.#holdsBack(place) ? key : [];
    });
    return new Set(waiting);
  }

  /** Whether an address has to wait. */
  holdsBackAddress(address: Address): boolean {
    return this.#begins?.has(address) ?? true;
  }

  #holdsBack({ address, protocol, port }: ServerPlace): boolean {
    return this.#begins?.has(frontendMember(address, protocol, port)) ?? true;
  }
}

/**
 * What keeps others from one Service may not keep them from the next that has its address. After a restart nobody knows whose a
 * server is, but by an endpoint that has stayed.
 */
function isOfOneService({ wanted, realServers }: KernelServer, target: TargetServer): boolean {
  if (wanted !== undefined) return wanted.origin.service === target.wanted?.origin.service;
  return (
    realServers.size === 0 || [...realServers.keys()].some((key) => target.realServers.has(key))
  );
}

/** The frontend or the address that a member is about. */
function beginning(member: string): string {
  return member.split(',', 2).join(',');
}
