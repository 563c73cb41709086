import { SwitchyardError } from '../../error.ts';
import type { Origin } from '../../graph/rule-graph.ts';
import type { Address } from '../../ip/address.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Unprogrammed } from '../sync-report.ts';
import { missingCure } from '../iptables/apply.ts';
import type { SetMember } from '../iptables/diff-sets.ts';
import type { Outcome } from '../iptables/meanwhile.ts';
import type { AddressTable } from './address-table.ts';
import { bindableAddresses } from './bindable.ts';
import type { ClosedFrontends } from './closed-frontends.ts';
import type { TargetServer } from './diff.ts';
import type { Draining, Drains } from './drains.ts';
import type { Lacking } from './lacking.ts';
import { coming, refusalReason } from './server-table.ts';
import type { RefusedLine, ServerTable, Targets } from './server-table.ts';
import { frontendMember, holds, ipvsSet } from './sets.ts';
import type { IpvsState, ServerPlace, VirtualServer, VirtualServerKey } from './state.ts';

/** What a {@link ServerWriter} is made of. */
export interface ServerWriterParts {
  readonly table: ServerTable;
  readonly addresses: AddressTable;
  readonly closed: ClosedFrontends;
  readonly drains: Drains;
  readonly addMembers: (members: readonly SetMember[], signal: AbortSignal) => Promise<void>;
  readonly isExcluded: (address: Address) => boolean;
  readonly onDraining?: ((draining: Draining) => void) | undefined;
  readonly log: Log;
}

/**
 * Writes virtual servers and the addresses they are at, in the order in which nobody is led to the node's own sockets; knows what the
 * kernel would not take.
 */
export class ServerWriter {
  readonly #parts: ServerWriterParts;
  /** Servers that are not as they were asked to be, and why. */
  #refused = new Map<VirtualServerKey, RefusedLine>();
  /** Servers whose members are not in their sets. */
  #waiting: ReadonlySet<VirtualServerKey> = new Set();

  constructor(parts: ServerWriterParts) {
    this.#parts = parts;
  }

  get refused(): Iterable<VirtualServerKey> {
    return this.#refused.keys();
  }

  /** How many servers and addresses are not as they were asked to be. */
  get refusals(): number {
    return this.#refused.size + this.#parts.addresses.refused.size;
  }

  /** What is to be made of some virtual servers. */
  targets(state: IpvsState, keys: Iterable<VirtualServerKey>): Targets {
    const targets = new Map<VirtualServerKey, TargetServer | undefined>();
    for (const key of new Set(keys)) {
      const have = this.#parts.table.servers.get(key);
      const wanted = state.servers.get(key);
      if (wanted === undefined && (have === undefined || this.#parts.isExcluded(have.address))) {
        this.#parts.drains.forget(key);
        continue;
      }
      const refused = (): boolean => have !== undefined && isRefused(state, have);
      targets.set(key, this.#parts.drains.target(have, wanted, refused));
    }
    return targets;
  }

  /** Gives what is not to be closed any more. */
  async program(
    state: IpvsState,
    targets: Targets,
    lacking: Lacking,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { addresses, table } = this.#parts;
    this.#refused = new Map();
    this.#waiting = lacking.heldBack(targets, table.servers);
    const ready = new Map([...targets].filter(([key]) => !this.#waiting.has(key)));
    await this.write(coming(ready), signal);
    if (lacking.isUnknown) return { last: [], keepsMembers: true };
    await this.#bind(state, lacking, signal);
    // What is at an address that stays is left: without it, the address would lead to the node's own sockets.
    const isLeft = (key: VirtualServerKey): boolean => {
      const address = table.servers.get(key)?.address;
      return address !== undefined && addresses.stuck.has(address);
    };
    const leaving = [...ready].filter(([key, target]) => target === undefined && !isLeft(key));
    await this.write(new Map(leaving), signal);
    // What refused these, or goes with them, is needed until they have come or gone.
    const keepsMembers = this.#waiting.size > 0 || addresses.stuck.size > 0;
    this.settleDrains();
    this.#checkAnythingServed(state);
    return { last: this.#opened(state, keepsMembers), keepsMembers };
  }

  /** Addresses come when their virtual servers are there, and go before these do. */
  async #bind(state: IpvsState, lacking: Lacking, signal: AbortSignal): Promise<void> {
    const { addresses, addMembers, closed, table } = this.#parts;
    const wanted = bindableAddresses(state, {
      there: table.servers.values(),
      refused: this.#refused.keys(),
      waiting: this.#waiting,
      lacking,
      bound: addresses.bound,
    });
    const open = this.#missing(state).filter(
      ({ address }) => wanted.has(address) || !state.addresses.has(address),
    );
    await addMembers(closed.close(open), signal);
    await addresses.write(wanted, signal);
  }

  /**
   * What is not to be closed any more. Members that stay may name what has no virtual server, and whoever is let past what
   * refuses by them would meet the node's own sockets.
   */
  #opened(state: IpvsState, keepsMembers: boolean): readonly SetMember[] {
    const { closed, table } = this.#parts;
    if (!keepsMembers) return closed.open(this.#missing(state));
    return closed.openOnly([...table.servers.values()].filter(({ key }) => state.servers.has(key)));
  }

  /** Virtual servers that the kernel would not take, or that have to wait. */
  #missing({ servers }: IpvsState): readonly VirtualServer[] {
    return [...this.#refused.keys(), ...this.#waiting].flatMap((key) =>
      this.#parts.table.servers.has(key) ? [] : (servers.get(key) ?? []),
    );
  }

  /** Brings virtual servers to what they are to be, and remembers what the kernel refuses of it. */
  async write(targets: Targets, signal: AbortSignal): Promise<void> {
    const refused = await this.#parts.table.write(targets, signal);
    for (const key of targets.keys()) this.#refused.delete(key);
    for (const [key, line] of refused) {
      this.#refused.set(key, line);
      this.#parts.log.error({ servicePort: line.origin?.name, server: key }, refusalReason(line));
    }
  }

  /** What refuses everything has to be mended or passes: that is no matter of single services. */
  #checkAnythingServed({ servers }: IpvsState): void {
    const [first] = this.#refused.values();
    if (first === undefined || servers.size < 2) return;
    if ([...servers.keys()].some((key) => this.#parts.table.servers.has(key))) return;
    throw new SwitchyardError('tool', `no virtual server is taken: ${refusalReason(first)}`, {
      retryable: true,
      hint: missingCure,
    });
  }

  /** Service ports of whose servers or addresses something is missing. */
  unprogrammed(): readonly Unprogrammed[] {
    const reasons = new Map<Unprogrammed['name'], string>();
    const add = ({ name }: Pick<Origin, 'name'>, reason: string): void => {
      if (!reasons.has(name)) reasons.set(name, reason);
    };
    for (const line of this.#refused.values())
      if (line.origin !== undefined) add(line.origin, refusalReason(line));
    for (const { name, reason } of this.#parts.addresses.refused.values()) add({ name }, reason);
    return [...reasons]
      .map(([name, reason]) => ({ name, reason }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  settleDrains(): void {
    const { drains, table, onDraining } = this.#parts;
    drains.settle(table.servers);
    onDraining?.(drains.draining);
  }
}

/** Whether rules refuse new connections to a virtual server that is not wanted any more. */
function isRefused({ family, rules }: IpvsState, place: Omit<ServerPlace, 'key'>): boolean {
  const member = frontendMember(place.address, place.protocol, place.port);
  return (['REJECTED', 'DROP-ALL'] as const).some((role) =>
    holds(rules.sets.get(ipvsSet(role, family))?.members, member),
  );
}
