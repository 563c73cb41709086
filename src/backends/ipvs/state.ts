import type { Origin } from '../../graph/rule-graph.ts';
import type { Address, Family } from '../../ip/address.ts';
import type { Protocol } from '../../services/service-port.ts';
import type { RefusedAddress } from '../sync-report.ts';
import type { IptablesState } from '../iptables/state.ts';

/** `TCP/10.96.0.10:53`, `UDP/[fd00::1]:53` */
export type VirtualServerKey = string & { readonly __brand: 'VirtualServerKey' };
/** `10.244.1.5:8080`, `[fd00::5]:8080` */
export type RealServerKey = string & { readonly __brand: 'RealServerKey' };

/** A destination of a virtual server, reached by NAT: the only way that lets ports differ. */
export interface RealServer {
  readonly address: Address;
  readonly port: number;
  /** 1 to 65535; 0 is for the kernel's side alone: a real server that drains. */
  readonly weight: number;
}

/** An address, protocol and port at which the kernel balances connections. */
export interface VirtualServer {
  readonly key: VirtualServerKey;
  readonly address: Address;
  readonly protocol: Protocol;
  readonly port: number;
  /** As `ipvsadm -s` takes it. */
  readonly scheduler: string;
  /** As `ipvsadm -b` takes them, sorted: `mh-fallback`, `mh-port`. */
  readonly schedulerFlags: readonly string[];
  /** Persistence in seconds (ClientIP affinity). */
  readonly persistentSeconds: number | undefined;
  /** How long the connections of a real server that goes may last, where the Service says so. */
  readonly drainSeconds?: number;
  readonly realServers: ReadonlyMap<RealServerKey, RealServer>;
  readonly origin: Origin;
}

/** Where a virtual server is, or might be. */
export type ServerPlace = Pick<VirtualServer, 'key' | 'address' | 'protocol' | 'port'>;

/** An address whose packets the node takes for its own, because it is bound to kube-ipvs0. */
export interface BoundAddress {
  readonly address: Address;
  /** A service port that asked for it, for reports; undefined: nobody does, and it cannot be taken away. */
  readonly origin: Origin | undefined;
}

/** What a Service asked for and does not get, for the log. */
export interface Shortfall {
  readonly origin: Origin;
  readonly reason: string;
}

/** Everything the ipvs backend wants in the kernel for one family. Pure data, made by `lower`. */
export interface IpvsState {
  readonly family: Family;
  readonly servers: ReadonlyMap<VirtualServerKey, VirtualServer>;
  readonly addresses: ReadonlyMap<Address, BoundAddress>;
  readonly refused: readonly RefusedAddress[];
  readonly shortfalls: readonly Shortfall[];
  /** The few rules and the sets they look into, applied by the iptables backend's machinery. */
  readonly rules: IptablesState;
}
