import type { Family } from '../../ip/address.ts';
import type { SetMember } from '../iptables/diff-sets.ts';
import { frontendMember, ipvsSet } from './sets.ts';
import type { ServerPlace } from './state.ts';

/** A place without its key, as sets name it. */
type Frontend = Omit<ServerPlace, 'key'>;

/**
 * Frontends that have no virtual server at the moment, while the address is the node's: it comes or goes in this sync, or
 * was refused. Rules refuse what is for them, or the node's own sockets would answer it.
 */
export class ClosedFrontends {
  readonly #set: SetMember['set'];
  #members = new Set<string>();

  constructor(family: Family) {
    this.#set = ipvsSet('CLOSED', family);
  }

  /** Takes what was found in the kernel for what is closed. */
  take(sets: ReadonlyMap<string, readonly string[]>): void {
    this.#members = new Set(sets.get(this.#set));
  }

  /** Gives what is to be put into the set, before anything else happens to these frontends. */
  close(frontends: Iterable<Frontend>): readonly SetMember[] {
    const added = [...membersOf(frontends)].filter((member) => !this.#members.has(member));
    for (const member of added) this.#members.add(member);
    return this.#asMembers(added);
  }

  /** Gives what is to be taken out, after all else; these stay closed. */
  open(except: Iterable<Frontend>): readonly SetMember[] {
    const stay = membersOf(except);
    const opened = [...this.#members].filter((member) => !stay.has(member));
    for (const member of opened) this.#members.delete(member);
    return this.#asMembers(opened);
  }

  /** Likewise, of these alone. */
  openOnly(frontends: Iterable<Frontend>): readonly SetMember[] {
    const opened = [...membersOf(frontends)].filter((member) => this.#members.delete(member));
    return this.#asMembers(opened);
  }

  #asMembers(members: readonly string[]): readonly SetMember[] {
    return members.toSorted().map((member) => ({ set: this.#set, member }));
  }
}

function membersOf(frontends: Iterable<Frontend>): ReadonlySet<string> {
  return new Set(
    Array.from(frontends, ({ address, protocol, port }) => frontendMember(address, protocol, port)),
  );
}
