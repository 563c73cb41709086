import type { NodeContext } from '../../graph/node-context.ts';
import { isLinkLocal, isLoopback } from '../../ip/address.ts';
import type { Address } from '../../ip/address.ts';

/**
 * The addresses on which node ports answer. Loopback and link-local ones cannot: what ipvs would send on from 127.0.0.0/8 the
 * kernel stops.
 */
export function nodePortAddresses(node: NodeContext): readonly Address[] {
  const { nodePortAddresses: where, localAddresses } = node;
  const addresses = where.kind === 'list' ? where.addresses : localAddresses;
  return addresses.filter((address) => !isLoopback(address) && !isLinkLocal(address));
}
