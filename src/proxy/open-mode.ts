import type { Backend } from '../backends/backend.ts';
import type { Draining } from '../backends/ipvs/drains.ts';
import type { Clock } from '../clock.ts';
import type { ProxyConfig } from '../config/proxy-config.ts';
import type { NodeRecordFile } from '../host/node-record.ts';
import type { ToolRunner } from '../host/run-tool.ts';
import type { Sysctls } from '../host/sysctl.ts';
import type { Family } from '../ip/address.ts';
import type { Relay } from '../relay/relay.ts';
import type { ServicePort } from '../services/service-port.ts';
import type { Log } from '../telemetry/log.ts';
import type { HeldInstances } from './held-instances.ts';
import type { ReservedAddresses } from './reserved-addresses.ts';
import type { TrafficCounting } from './service-traffic.ts';

/** What the backends of any mode need of the machine and the process. */
export interface BackendsOptions {
  readonly config: ProxyConfig;
  readonly tools: ToolRunner;
  readonly sysctls: Sysctls;
  readonly record: Pick<NodeRecordFile, 'noteFirewall' | 'read'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** What this process is the only one at; left out: nobody else in it asks. */
  readonly instances?: Pick<HeldInstances, 'becomeOnly' | 'nameOther'>;
  /**
   * The families in which an agent of this process has looked for what kube-proxy's nftables mode left; left out: nobody has. A
   * kube-proxy that has come since is somebody else's matter.
   */
  readonly withoutNftables?: Set<Family>;
  /** For what an operator asked to see, beside the log. */
  readonly print: (text: string) => void;
  /** Addresses of others, which ipvs mode must not take; left out: none are known. */
  readonly reserved?: Reservations | undefined;
  /** Where the traffic of service ports is counted; left out: nobody asked. */
  readonly traffic?: TrafficCounting | undefined;
  /** Told of the real servers that drain; for metrics. */
  readonly onDraining?: (family: Family, draining: Draining) => void;
}

/** What is said of addresses changes with `version`. */
export type Reservations = Pick<ReservedAddresses, 'reason' | 'ready' | 'version'>;

/** A family this machine can do, and what programs it. */
export interface FamilyBackend {
  readonly family: Family;
  readonly backend: Backend;
  /** Who answers for a service port as connection tracking sees it (`ip:port`); left out: its endpoints. */
  readonly answering?: (servicePort: ServicePort) => readonly string[];
  /** Nothing of connection tracking leads to Services. */
  readonly untracked?: true;
}

/** A mode at work. */
export interface OpenMode {
  readonly families: readonly FamilyBackend[];
  /** What carries the bytes, where the kernel does not. */
  readonly relay?: Pick<Relay, 'stats'>;
  /** Frees what the next agent needs; connections go on. */
  leave(): Promise<void>;
  /** Ends what the mode has at work besides its backends; connections may drain for so long, or until `hurry` aborts. */
  close(withinMs: number, hurry?: AbortSignal): Promise<void>;
}
