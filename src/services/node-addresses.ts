import { familyOf, parseAddress } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import type { NodeObject } from './objects.ts';

/**
 * The node's own addresses, at most one of each family, the primary one first: the first InternalIP
 * (else the first ExternalIP), then the first of the other family.
 */
export function nodeAddresses(node: NodeObject): readonly Address[] {
  const ordered = ['InternalIP', 'ExternalIP'].flatMap((type) =>
    node.addresses.filter((each) => each.type === type).map((each) => parseAddress(each.address)),
  );
  const [first, ...others] = ordered.filter((address) => address !== undefined);
  if (first === undefined) return [];
  const second = others.find((address) => familyOf(address) !== familyOf(first));
  return second === undefined ? [first] : [first, second];
}
