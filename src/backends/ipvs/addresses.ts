import type { Origin } from '../../graph/rule-graph.ts';
import type { Address } from '../../ip/address.ts';
import type { ServicePortKey } from '../../services/service-port.ts';
import type { RefusedAddress } from '../sync-report.ts';
import { KeyedTable } from '../keyed-table.ts';
import type { BoundAddress, VirtualServerKey } from './state.ts';

/** Who asks for addresses: which are bound to kube-ipvs0, and which are refused. */
export class AddressClaims {
  readonly #bound = new Map<Address, Map<VirtualServerKey, Origin>>();
  readonly #refused = new Map<VirtualServerKey, RefusedAddress>();
  readonly #touched = new Set<Address>();
  #addresses = new KeyedTable<Address, BoundAddress>();
  #refusals: readonly RefusedAddress[] | undefined;

  /** A frontend that needs its address bound. */
  bind(address: Address, key: VirtualServerKey, origin: Origin): void {
    const claims = this.#bound.get(address) ?? new Map<VirtualServerKey, Origin>();
    claims.set(key, origin);
    this.#bound.set(address, claims);
    this.#touched.add(address);
  }

  /** A frontend that is not served. */
  refuse(key: VirtualServerKey, refused: RefusedAddress): void {
    this.#refused.set(key, refused);
    this.#refusals = undefined;
  }

  /** The frontend asks for nothing any more. */
  release(address: Address, key: VirtualServerKey): void {
    if (this.#refused.delete(key)) this.#refusals = undefined;
    const claims = this.#bound.get(address);
    if (claims?.delete(key) !== true) return;
    if (claims.size === 0) this.#bound.delete(address);
    this.#touched.add(address);
  }

  /** Addresses that were bound or are no longer since this was asked last. */
  *changes(): Generator<readonly [Address, boolean]> {
    const changes = new Map<Address, BoundAddress | undefined>();
    for (const address of this.#touched) {
      const before = this.#addresses.get(address);
      const origin = first(this.#bound.get(address)?.values() ?? []);
      if ((before === undefined) !== (origin === undefined)) yield [address, origin !== undefined];
      if (before?.origin?.servicePort === origin?.servicePort) continue;
      changes.set(address, origin && { address, origin });
    }
    this.#touched.clear();
    this.#addresses = this.#addresses.with(changes);
  }

  bound(): ReadonlyMap<Address, BoundAddress> {
    return this.#addresses;
  }

  /** One for each address and service port. */
  refused(): readonly RefusedAddress[] {
    this.#refusals ??= onePerServicePort(this.#refused.values());
    return this.#refusals;
  }
}

/** The same whatever the order in which they came. */
function first(origins: Iterable<Origin>): Origin | undefined {
  let least: Origin | undefined;
  for (const origin of origins) {
    if (least === undefined || origin.servicePort < least.servicePort) least = origin;
  }
  return least;
}

function onePerServicePort(all: Iterable<RefusedAddress>): readonly RefusedAddress[] {
  const told = new Map<`${Address} ${ServicePortKey}`, RefusedAddress>();
  for (const each of all) told.set(`${each.address} ${each.origin.servicePort}`, each);
  return [...told].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
}
