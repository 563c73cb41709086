import { familyOf, isLoopback } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import { cidrContains } from '../ip/cidr.ts';
import type { Protocol } from '../services/service-port.ts';
import type { NodeContext, PodDetector } from './node-context.ts';

/** The first packet of a connection, as the rules of this node see it. */
export interface Packet {
  readonly protocol: Protocol;
  readonly source: Address;
  readonly destination: Address;
  readonly destinationPort: number;
  /** The pod detector takes the source for a pod of this node (always false without a detector). */
  readonly fromPod: boolean;
  /** The source is an address of this node (addrtype src-type LOCAL). */
  readonly fromNode: boolean;
}

/** Where a packet comes from and goes to, before the node has judged its source. */
export interface Journey {
  readonly protocol: Protocol;
  readonly source: Address;
  readonly destination: Address;
  readonly port: number;
  /** The interface it arrives on; detectors by interface need it. */
  readonly inInterface?: string | undefined;
}

/** The packet of a journey as this node judges it: whether a pod or the node itself sent it. */
export function packetFrom(node: NodeContext, journey: Journey): Packet {
  const { protocol, source, destination, port, inInterface } = journey;
  return {
    protocol,
    source,
    destination,
    destinationPort: port,
    fromPod: detects(node.podDetector, source, inInterface),
    fromNode: isLocalAddress(node, source),
  };
}

/** Whether the kernel treats the address as the node's own: all of 127.0.0.0/8 is. */
function isLocalAddress(node: NodeContext, address: Address): boolean {
  return isLoopback(address) || node.localAddresses.includes(address);
}

/** Whether node ports answer on the address. */
export function answersNodePorts(node: NodeContext, address: Address): boolean {
  const where = node.nodePortAddresses;
  if (where.kind === 'list') return where.addresses.includes(address);
  if (!isLocalAddress(node, address)) return false;
  if (!isLoopback(address)) return true;
  return familyOf(address) === 'ipv4' && where.loopback;
}

/**
 * Whether node ports answer on the address as long as the node context stays. Addresses of interfaces
 * come and go without a new context (bridges of pods do), so of those only the node's own one counts:
 * what is compiled must not depend on when it was.
 */
export function alwaysAnswersNodePorts(node: NodeContext, address: Address): boolean {
  const where = node.nodePortAddresses;
  if (where.kind === 'list') return where.addresses.includes(address);
  if (address === node.nodeAddress) return true;
  return where.loopback && isLoopback(address) && familyOf(address) === 'ipv4';
}

function detects(detector: PodDetector, source: Address, inInterface: string | undefined): boolean {
  switch (detector.kind) {
    case 'none':
      return false;
    case 'cidr':
      return cidrContains(detector.cidr, source);
    case 'interface':
      return inInterface === detector.name;
    case 'interfacePrefix':
      return inInterface?.startsWith(detector.prefix) ?? false;
    default:
      return detector satisfies never;
  }
}
