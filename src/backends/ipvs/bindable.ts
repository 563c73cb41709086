import type { Address } from '../../ip/address.ts';
import type { BoundAddresses } from './device.ts';
import type { Lacking } from './lacking.ts';
import type { IpvsState, ServerPlace, VirtualServerKey } from './state.ts';

/** What has become of the virtual servers of a state, when its addresses are about to be bound. */
export interface ServerProgress {
  /** Those that are there. */
  readonly there: Iterable<Pick<ServerPlace, 'address'>>;
  /** Those that the kernel would not take. */
  readonly refused: Iterable<VirtualServerKey>;
  /** Those whose members are not in their sets. */
  readonly waiting: Iterable<VirtualServerKey>;
  readonly lacking: Lacking;
  readonly bound: BoundAddresses;
}

/**
 * The addresses of a state that may be bound, or stay so. One whose virtual servers are all refused is not, and one that waits for its
 * members, or for servers that do, is not bound yet: it would lead to the node's own sockets.
 */
export function bindableAddresses(
  { addresses, servers }: Pick<IpvsState, 'addresses' | 'servers'>,
  { there, refused, waiting, lacking, bound }: ServerProgress,
): IpvsState['addresses'] {
  const [failed, late] = [[...refused], [...waiting]];
  if (failed.length + late.length === 0 && lacking.isNothing) return addresses;
  const served = new Set(Array.from(there, ({ address }) => address));
  const unserved = (keys: readonly VirtualServerKey[]): ReadonlySet<Address | undefined> => {
    const all = keys.map((key) => servers.get(key)?.address);
    return new Set(all.filter((address) => address && !served.has(address)));
  };
  const [without, early] = [unserved(failed), unserved(late)];
  const waits = (address: Address): boolean =>
    (early.has(address) || lacking.holdsBackAddress(address)) && bound?.has(address) !== true;
  return new Map([...addresses].filter(([each]) => !without.has(each) && !waits(each)));
}
