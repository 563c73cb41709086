import type { NodeContext } from '../../graph/node-context.ts';
import type { Address } from '../../ip/address.ts';

/** 127.0.0.0/8 and ::1: what ipvs would send on from there, the kernel stops. */
export function isLoopback(address: Address): boolean {
  return address === '::1' || address.startsWith('127.');
}

/** fe80::/10: such an address means nothing without an interface. */
export function isLinkLocal(address: Address): boolean {
  return /^fe[89ab]/.test(address);
}

/** The addresses on which node ports answer; loopback and link-local ones cannot. */
export function nodePortAddresses(node: NodeContext): readonly Address[] {
  const { nodePortAddresses: where, localAddresses } = node;
  const addresses = where.kind === 'list' ? where.addresses : localAddresses;
  return addresses.filter((address) => !isLoopback(address) && !isLinkLocal(address));
}
