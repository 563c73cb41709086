import type { Address } from '../ip/address.ts';

/** The name of an interface that is not known: rules that ask for one are not understood. */
export const unknownInterface = '?';

/** The first packet of a connection; `inInterface` undefined: the node itself sends it. */
export interface WalkingPacket {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly source: Address;
  readonly sourcePort: number;
  readonly destination: Address;
  readonly destinationPort: number;
  readonly inInterface: string | undefined;
  readonly outInterface: string;
  readonly state: 'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID' | 'UNTRACKED';
}

/** What a node knows besides its rules. */
export interface WalkedNode {
  readonly localAddresses: readonly Address[];
  /** Members of ipsets by name, as `ipset` prints them. */
  readonly sets: ReadonlyMap<string, ReadonlySet<string>>;
  /** Sets that are not among them are not known; without it, they are empty. */
  readonly hasOtherSets?: boolean;
}

/** A rule that a packet has met and that did something. */
export interface Step {
  readonly table: string;
  readonly chain: string;
  /** Of the rule in its chain, from 1; 0: the chain's policy. */
  readonly number: number;
  /** As it was written, after `-A CHAIN`. */
  readonly text: string;
  /** With which it is met. */
  readonly chance: number;
}

/** The steps of a share of the packets, the last one first. */
export interface Trail {
  readonly step: Step;
  readonly before: Trail | undefined;
}

/** Something that rules ask and nobody here can answer, with the answer that was taken. */
export interface Assumption {
  /** `-m owner --uid-owner 1000` */
  readonly asked: string;
  readonly holds: boolean;
}

/** A packet on its way: what rules change. */
export interface World {
  readonly packet: WalkingPacket;
  readonly mark: number;
  readonly translated: boolean;
  /** By ipvs, which leaves no trace of it in the state of the connection. */
  readonly balanced?: boolean;
  readonly masqueraded: boolean;
  /** The new source, where a rule names one. */
  readonly newSource?: string;
  readonly probability: number;
  readonly trail?: Trail | undefined;
  readonly assumed?: readonly Assumption[];
}
