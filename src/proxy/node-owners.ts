import { parseAddress } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import type { NodeObject } from '../services/objects.ts';

/** Addresses of Nodes but this one, and in words whose each is: `Node node-b`. */
export function nodeOwners(
  nodes: Iterable<NodeObject>,
  nodeName: string,
): ReadonlyMap<Address, string> {
  const owners = new Map<Address, string>();
  for (const { meta, addresses } of nodes) {
    if (meta.name === nodeName) continue;
    for (const each of addresses) {
      const address = parseAddress(each.address);
      if (address !== undefined) owners.set(address, `Node ${meta.name}`);
    }
  }
  return owners;
}

/** Why a Service may not take an address, in one form wherever it is said. */
export function ownedReason(address: Address, owner: string): string {
  return `${address} is an address of ${owner}`;
}
