import { hash } from 'node:crypto';
import { addressBytes } from '../../ip/address.ts';
import type { Address } from '../../ip/address.ts';
import type { ServiceName } from '../../services/service-port.ts';

/**
 * 127.1.0.1 to 127.255.255.254: 127.0.0.0/16 has its residents (127.0.0.1, 127.0.0.53, 127.0.1.1 …), and no address ends with
 * 0 or 255, which some programs take for a network or a broadcast.
 */
const [seconds, thirds, lasts] = [255, 256, 254];
const total = seconds * thirds * lasts;

/**
 * A loopback address of its own for each Service: that of the last time (`kept`), or else a hash of its name. Where two names
 * have one hash, who has the address keeps it, and then the smaller name comes first; the other takes the next one that is
 * free. `taken` are given to nobody.
 */
export function loopbackAddresses(
  services: Iterable<ServiceName>,
  kept: ReadonlyMap<ServiceName, Address> = new Map(),
  taken: ReadonlySet<Address> = new Set(),
): ReadonlyMap<ServiceName, Address> {
  const names = [...new Set(services)].toSorted();
  const addresses = new Map<ServiceName, Address>();
  const held = new Set(taken);
  const give = (name: ServiceName, address: Address): void => {
    addresses.set(name, address);
    held.add(address);
  };
  for (const name of names) {
    const address = kept.get(name);
    if (address !== undefined && isGiven(address) && !held.has(address)) give(name, address);
  }
  for (const name of names) {
    if (addresses.has(name)) continue;
    let at = hash('sha256', name, 'buffer').readUInt32BE(0) % total;
    while (held.has(addressAt(at))) at = (at + 1) % total;
    give(name, addressAt(at));
  }
  return addresses;
}

function addressAt(index: number): Address {
  const last = 1 + (index % lasts);
  const rest = Math.floor(index / lasts);
  return `127.${1 + Math.floor(rest / thirds)}.${rest % thirds}.${last}` as Address;
}

/** Whether it is one of those that are given. */
function isGiven(address: Address): boolean {
  if (address.includes(':')) return false;
  const [first, second = 0, , last = 0] = addressBytes(address);
  return first === 127 && second >= 1 && last >= 1 && last <= lasts;
}
