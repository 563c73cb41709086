import { familyOf } from '../../ip/address.ts';
import type { Address } from '../../ip/address.ts';
import { cidrContains, cidrFamily } from '../../ip/cidr.ts';
import type { Cidr } from '../../ip/cidr.ts';

/** Whether an address is in one of `excludeCIDRs`: what is there is never taken away, whoever made it. */
export function isInAny(excludeCidrs: readonly Cidr[], address: Address): boolean {
  return excludeCidrs.some(
    (cidr) => cidrFamily(cidr) === familyOf(address) && cidrContains(cidr, address),
  );
}
