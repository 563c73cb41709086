import { frontendMember } from './sets.ts';
import type { SetVersions } from '../iptables/set-versions.ts';
import type { VirtualServer } from './state.ts';

/** The set of `endpoint,protocol:port,endpoint`, where the kernel has no xt_bpf. */
export class HairpinMembers {
  readonly #set: SetVersions;
  /** How many virtual servers have each. */
  readonly #uses = new Map<string, number>();

  constructor(set: SetVersions) {
    this.#set = set;
  }

  add(server: VirtualServer): void {
    for (const member of membersOf(server)) {
      const uses = this.#uses.get(member) ?? 0;
      this.#uses.set(member, uses + 1);
      if (uses === 0) this.#set.put(member);
    }
  }

  remove(server: VirtualServer): void {
    for (const member of membersOf(server)) {
      const uses = (this.#uses.get(member) ?? 0) - 1;
      if (uses > 0) {
        this.#uses.set(member, uses);
        continue;
      }
      this.#uses.delete(member);
      this.#set.remove(member);
    }
  }
}

function* membersOf({ protocol, realServers }: VirtualServer): Generator<string> {
  for (const { address, port } of realServers.values()) {
    yield `${frontendMember(address, protocol, port)},${address}`;
  }
}
