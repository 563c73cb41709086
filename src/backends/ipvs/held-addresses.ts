import type { Clock } from '../../clock.ts';
import type { Address } from '../../ip/address.ts';
import type { StuckAddress } from '../sync-report.ts';
import { membersOf } from '../iptables/diff-sets.ts';
import { ipvsSet } from './sets.ts';
import type { BoundAddress, IpvsState } from './state.ts';

/** How soon it is tried again to remove what is held: each time everything is read and written. */
const retryMs = 300_000;

/**
 * Addresses that nobody asks for any more and that the kernel would not take off kube-ipvs0. Until it is tried again they count as
 * wanted: all else that was there goes, and rules refuse what comes for them.
 */
export class HeldAddresses {
  readonly #clock: Clock;
  #held: ReadonlyMap<Address, StuckAddress> = new Map();
  #retryAtMs = Number.POSITIVE_INFINITY;
  /** What was made of which state, to be the same as long as nothing differs. */
  #made: { readonly of: IpvsState; readonly state: IpvsState } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get stuck(): readonly StuckAddress[] {
    return [...this.#held.values()].toSorted((a, b) => (a.address < b.address ? -1 : 1));
  }

  /** What is to be written where `wanted` is asked for. */
  beside(wanted: IpvsState): IpvsState {
    if (this.#clock.monotonic() >= this.#retryAtMs) this.#keep(new Map());
    const asked = [...this.#held].filter(([address]) => wanted.addresses.has(address));
    if (asked.length > 0) {
      this.#keep(new Map([...this.#held].filter(([address]) => !wanted.addresses.has(address))));
    }
    if (this.#held.size === 0) return wanted;
    if (this.#made?.of !== wanted) this.#made = { of: wanted, state: this.#add(wanted) };
    return this.#made.state;
  }

  /** Holds what could not be removed; says whether anything of it was not held. */
  hold(stuck: ReadonlyMap<Address, StuckAddress>): boolean {
    if (stuck.size === 0) return false;
    this.#keep(new Map([...this.#held, ...stuck]));
    this.#retryAtMs = this.#clock.monotonic() + retryMs;
    return true;
  }

  #keep(held: ReadonlyMap<Address, StuckAddress>): void {
    this.#held = held;
    this.#made = undefined;
    if (held.size === 0) this.#retryAtMs = Number.POSITIVE_INFINITY;
  }

  #add(wanted: IpvsState): IpvsState {
    const { addresses, rules, family } = wanted;
    const held = [...this.#held.values()].map(({ address, origin }): [Address, BoundAddress] => [
      address,
      { address, origin },
    ]);
    const bound = rules.sets.get(ipvsSet('BOUND', family));
    if (bound === undefined) return { ...wanted, addresses: new Map([...addresses, ...held]) };
    const members = [...membersOf(bound), ...this.#held.keys()].toSorted();
    const sets = new Map(rules.sets).set(bound.name, { ...bound, members });
    return {
      ...wanted,
      addresses: new Map([...addresses, ...held]),
      rules: { ...rules, sets },
    };
  }
}
