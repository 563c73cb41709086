import { hash } from 'node:crypto';
import type { Protocol, ServicePortName } from '../../services/service-port.ts';
import type { ChainName, SetName, TableName } from './state.ts';

/**
 * The prefixes of generated chains. kube-proxy's own clean-up knows exactly these, so a generated nat
 * chain of another name would survive it, and its references would make every later batch fail.
 */
export const servicePrefixes = [
  'KUBE-SVC-',
  'KUBE-SVL-',
  'KUBE-EXT-',
  'KUBE-FW-',
  'KUBE-SEP-',
] as const;

/** A chain of a service port; all roles of one share the suffix. */
export type ServiceChainRole = 'SVC' | 'SVL' | 'EXT' | 'FW';

/** Who a name belongs to: `ns/name:port` and the protocol. */
export interface NameOwner {
  readonly name: ServicePortName;
  readonly protocol: Protocol;
}

/** `tcp`, `udp` or `sctp`: how rules and name hashes spell a protocol. */
export function protocolText(protocol: Protocol): 'tcp' | 'udp' | 'sctp' {
  return protocolTexts[protocol];
}

const protocolTexts = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' } as const;

/**
 * kube-proxy's name for a chain of a service port. `distinguish` keeps apart chains that it would
 * not have (none in the graphs its API objects can give).
 */
export function serviceChain(
  role: ServiceChainRole,
  owner: NameOwner,
  distinguish = '',
): ChainName {
  return `KUBE-${role}-${suffix(ownerText(owner) + distinguish)}` as ChainName;
}

/** kube-proxy's name for the chain of one endpoint (`ip:port`) of a service port. */
export function endpointChain(owner: NameOwner, endpoint: string): ChainName {
  return `KUBE-SEP-${suffix(ownerText(owner) + endpoint)}` as ChainName;
}

/** A chain inside the random tree of a big pool: `path` are the hash digits it owns. */
export function randomTreeChain(owner: NameOwner, pool: ChainName, path: string): ChainName {
  return `KUBE-SEP-${suffix(`${ownerText(owner)}/${pool}/${path}`)}` as ChainName;
}

/** A chain of a dispatch tree; `role` says which tree of the table, `prefix` what the chain owns. */
export function dispatchChain(table: TableName, role: string, prefix: string): ChainName {
  return `KUBE-SVC-${suffix(`${table}/${role}/${prefix}`)}` as ChainName;
}

/**
 * The ipset that remembers the clients of an endpoint. A set's time-out cannot be changed in place,
 * so it is part of the name.
 */
export function affinitySet(owner: NameOwner, endpoint: string, timeoutSeconds: number): SetName {
  return `KUBE-AFF-${suffix(`${ownerText(owner)}${endpoint}/${timeoutSeconds}`)}` as SetName;
}

function ownerText({ name, protocol }: NameOwner): string {
  return name + protocolText(protocol);
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The first 16 characters of the base32 of the SHA-256: 80 bits, so 10 bytes of the digest. */
function suffix(text: string): string {
  const digest = hash('sha256', text, 'buffer');
  const digits: string[] = [];
  for (let at = 0; at < 10; at += 5) {
    const high = digest.readUInt32BE(at);
    const low = digest.readUInt8(at + 4);
    for (let bit = 27; bit >= 2; bit -= 5) digits.push(alphabet.charAt((high >>> bit) & 31));
    digits.push(alphabet.charAt(((high & 3) << 3) | (low >>> 5)), alphabet.charAt(low & 31));
  }
  return digits.join('');
}
