import type { Address } from '../../../src/ip/address.ts';

/** The first packet of a connection; `inInterface` undefined: the node itself sends it. */
export interface SimulatedPacket {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly source: Address;
  readonly sourcePort: number;
  readonly destination: Address;
  readonly destinationPort: number;
  readonly inInterface: string | undefined;
  readonly outInterface: string;
  readonly state: 'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID';
}

/** What a node knows besides its rules. */
export interface SimulatedNode {
  readonly localAddresses: readonly Address[];
  /** Members of ipsets by name, as `ipset` prints them; others are empty. */
  readonly sets: ReadonlyMap<string, ReadonlySet<string>>;
}

/** A packet on its way: what rules change. */
export interface World {
  readonly packet: SimulatedPacket;
  readonly mark: number;
  readonly translated: boolean;
  /** By ipvs, which leaves no trace of it in the state of the connection. */
  readonly balanced?: boolean;
  readonly masqueraded: boolean;
  readonly probability: number;
}
