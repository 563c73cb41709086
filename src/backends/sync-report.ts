import type { SwitchyardError } from '../error.ts';
import type { Origin } from '../graph/rule-graph.ts';
import type { Address } from '../ip/address.ts';
import type { ServicePortName } from '../services/service-port.ts';

/** A service port that could not be programmed, with the tool's words. */
export interface Unprogrammed {
  readonly name: ServicePortName;
  readonly reason: string;
}

/** An address at which a Service is not served, since the mode must not take it. */
export interface RefusedAddress {
  readonly address: Address;
  /** A service port that asked for it. */
  readonly origin: Origin;
  readonly reason: string;
}

/** An address that nobody asks for any more and that cannot be taken off the node. Rules refuse what comes for it. */
export interface StuckAddress {
  readonly address: Address;
  /** A service port that asked for it; undefined: an agent before this one knew. */
  readonly origin: Origin | undefined;
  /** The kernel's words. */
  readonly reason: string;
}

/** An endpoint to which the mode leads nobody, since that would be a way back to itself. */
export interface LeftOutEndpoint {
  readonly name: ServicePortName;
  /** `10.96.0.10:80` */
  readonly endpoint: string;
  readonly reason: string;
}

/** What one sync did, for metrics, health and status. */
export interface SyncReport {
  readonly full: boolean;
  /** Rules in force and rules written, by table. */
  readonly rulesTotal: Readonly<Record<string, number>>;
  readonly rulesWritten: Readonly<Record<string, number>>;
  readonly unprogrammed: readonly Unprogrammed[];
  /** One for each address and service port; left out by modes that take no address. */
  readonly refusedAddresses?: readonly RefusedAddress[];
  /** Likewise. */
  readonly stuckAddresses?: readonly StuckAddress[];
  /** Left out by modes that carry no bytes. */
  readonly leftOutEndpoints?: readonly LeftOutEndpoint[];
  /** Writes that were refused on the way, what was left out or a full write having mended them. */
  readonly refusedWrites: { readonly full: number; readonly partial: number };
  /** What is still to be done although the rules are in: the sync is to be repeated, and is then full. */
  readonly failure: SwitchyardError | undefined;
}
