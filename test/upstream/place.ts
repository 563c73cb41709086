import type { Family } from '../../src/ip/address.ts';
import { lab4, lab6 } from '../support/node-lab.ts';
import type { Pod } from '../support/node-lab.ts';

/** Node ports that are given out, over and over: the API server's range. */
const nodePorts = { first: 30_000, last: 32_767 } as const;

/** Pods of the lab's own node. */
export const localPods = ['pod-a', 'pod-b', 'pod-c'] as const;

/** The address of a family of a pod, or of one in the node's network. */
export function podAddress(pod: Pod | 'node', family: Family): string {
  return (family === 'ipv4' ? lab4 : lab6)[pod];
}

/** The node's own address of a family. */
export function nodeAddress(family: Family): string {
  return (family === 'ipv4' ? lab4 : lab6).node;
}

/**
 * Gives out addresses and node ports that fit the lab. No address comes twice, so that connection
 * tracking knows nothing of it and nobody else claims it, unless that is what is asked.
 */
export class Places {
  #clusterIPs = 256;
  #externals = 256;
  #nodePort: number = nodePorts.last;

  /** Inside the API server's service CIDRs, in their upper part: the lower is given out by the server. */
  clusterIP(family: Family): string {
    const n = ++this.#clusterIPs;
    return family === 'ipv4'
      ? `10.${100 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`
      : `fd00:10:96::${(8 + (n >> 16)).toString(16)}:${(n & 0xffff).toString(16)}`;
  }

  /** Nobody's: what is sent there untranslated leaves the node and is never answered. */
  external(family: Family): string {
    const n = ++this.#externals;
    return family === 'ipv4'
      ? `172.${16 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`
      : `2001:db8:ffff::${n.toString(16)}`;
  }

  nodePort(): number {
    const { first, last } = nodePorts;
    this.#nodePort = this.#nodePort === last ? first : this.#nodePort + 1;
    return this.#nodePort;
  }
}
