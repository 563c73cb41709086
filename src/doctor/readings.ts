import type { Missing } from '../backends/ipvs/tool-problems.ts';
import type { FeatureReport } from '../backends/iptables/features.ts';
import type { Variant, VariantChoice, Version } from '../backends/iptables/variant.ts';
import type { ConntrackUsage } from '../host/conntrack.ts';
import type { BootRules } from '../host/boot-rules.ts';
import type { KernelParts } from '../host/kernel-modules.ts';
import type { MachineMemory } from '../host/machine-memory.ts';
import type { NetworkShape } from '../host/network-shape.ts';
import type { NodeProcess } from '../host/node-processes.ts';
import type { LockFile, Privileges } from '../host/privileges.ts';
import type { ProxyProcess } from '../host/proxy-processes.ts';
import type { LockHolder } from '../host/xtables-lock.ts';
import type { Address, Family } from '../ip/address.ts';
import type { NodeObject } from '../services/objects.ts';
import type { RuleFacts } from './rule-facts.ts';

/** What a check can learn of the machine and of the API server. Each is read once, when it is first asked for. */
export interface Readings {
  privileges(): Promise<Privileges>;
  kernel(): Promise<KernelParts>;
  /** Of each tool that the agent may run. */
  tools(): Promise<readonly ToolReading[]>;
  variant(): Promise<VariantReading>;
  probe(): Promise<ProbeReading>;
  rules(): Promise<RulesReading>;
  nftTables(): Promise<NftReading>;
  lock(): Promise<LockReading>;
  /** Values by key; a key that the kernel does not have is left out. */
  sysctls(): Promise<SysctlReading>;
  conntrack(): Promise<ConntrackReading>;
  shape(): Promise<NetworkShape>;
  processes(): Promise<readonly NodeProcess[]>;
  proxies(): Promise<readonly ProxyProcess[]>;
  listeners(): Promise<readonly PortReading[]>;
  bootRules(): Promise<BootRules>;
  ipvs(): Promise<IpvsReading>;
  memory(): Promise<MachineMemory>;
  /** How many files a process may open; undefined: not known. */
  fileLimit(): Promise<number | undefined>;
  /** Whether the kernel has IPv6. */
  hasIPv6(): Promise<boolean>;
  api(): Promise<ApiReading>;
  credentials(): Promise<CredentialsReading>;
}

/** A program of the node. */
export type ToolReading = {
  readonly tool: string;
} & (
  | {
      readonly found: true;
      /** As it says it, its first line. */
      readonly said: string;
      readonly version: Version | undefined;
      /** Of iptables tools. */
      readonly variant: Variant | undefined;
    }
  | {
      readonly found: false;
      /** Why it is of no use, where it is there. */
      readonly why?: string;
      readonly cure: string;
    }
);

export type VariantReading =
  | { readonly kind: 'chosen'; readonly choice: VariantChoice }
  | { readonly kind: 'unknown'; readonly reason: string; readonly cure: string };

/** What was found by trying rules where they do no harm. */
export type ProbeReading =
  | {
      readonly kind: 'skipped';
      readonly why: string;
      /** undefined: nobody wants it otherwise. */
      readonly cure: string | undefined;
    }
  | {
      readonly kind: 'tried';
      /** Without root some things may be refused that are granted to it. */
      readonly byRoot: boolean;
      readonly families: ReadonlyMap<Family, FeatureReport | { readonly problem: string }>;
      /** What ipvs mode lacks beside that; undefined: it was not tried, since that loads modules. */
      readonly ipvs: readonly Missing[] | undefined;
      /** Why ipvs does not do IPv6. */
      readonly ipvs6: Missing | undefined;
      /** Kernel modules that were not loaded before. */
      readonly loaded: readonly string[];
      readonly variant: Variant;
    };

/** The rules of a variant and family, as far as doctor reads them. */
export interface RulesReading {
  readonly read: readonly RuleFacts[];
  /** What could not be read, in words. */
  readonly unread: readonly string[];
}

export type NftReading =
  | {
      readonly kind: 'read';
      readonly tables: readonly string[];
      readonly droppingForward: readonly string[];
    }
  | { readonly kind: 'unread'; readonly why: string };

export interface LockReading {
  readonly file: LockFile;
  readonly holder: LockHolder | undefined;
}

export interface SysctlReading {
  readonly values: ReadonlyMap<string, string>;
  readonly writable: boolean;
  readonly release: string;
}

export interface ConntrackReading {
  readonly usage: ConntrackUsage | undefined;
  readonly hashSize: number | undefined;
  readonly cpus: number;
}

/** Who listens at a port. */
export interface PortReading {
  readonly address: Address;
  readonly port: number;
  /** Of one at `::`; undefined or left out: not known. */
  readonly takesIPv4?: boolean | undefined;
  /** undefined: not to be seen. */
  readonly owner: { readonly pid: number; readonly name: string } | undefined;
}

export interface IpvsReading {
  /** Whether ip_vs is loaded; without it there is nothing to read. */
  readonly isLoaded: boolean;
  /** Virtual servers that no service proxy has made, `10.0.0.1:80/TCP`. */
  readonly foreign: readonly string[];
  readonly ours: number;
}

/** A right that the agent uses, and whether it has it. */
export interface AccessReading {
  /** The id of the need it belongs to. */
  readonly need: string;
  readonly verb: string;
  readonly answer: 'allowed' | 'denied' | 'unknown';
  readonly reason: string;
}

/** How one list of few objects went. */
export interface ListReading {
  readonly need: string;
  readonly status: number;
  readonly reason: string;
}

export type ApiReading =
  | { readonly kind: 'unused' }
  | { readonly kind: 'unusable'; readonly problem: string; readonly cure: string }
  | { readonly kind: 'silent'; readonly server: string; readonly problem: string }
  | {
      readonly kind: 'answered';
      readonly server: string;
      /** Of /version. */
      readonly status: number;
      /** `v1.37.2`; '' where it was not told. */
      readonly version: string;
      readonly roundTripMs: number;
      /** How far this node's clock is ahead of the server's; undefined: it sent no date. */
      readonly aheadMs: number | undefined;
      readonly access: readonly AccessReading[];
      readonly lists: readonly ListReading[];
      readonly node: NodeReading;
    };

export type NodeReading =
  | { readonly kind: 'found'; readonly node: NodeObject }
  | { readonly kind: 'absent'; readonly others: readonly string[] }
  | { readonly kind: 'unread'; readonly why: string };

/** A certificate or a token, by its dates alone. */
export interface DatedCredential {
  readonly what: string;
  /** Milliseconds since the epoch. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

export type CredentialsReading =
  | { readonly kind: 'unused' }
  | { readonly kind: 'unread'; readonly problem: string }
  | {
      readonly kind: 'read';
      readonly dated: readonly DatedCredential[];
      /** What the server is asked with, in words: `a client certificate`. */
      readonly by: string;
      readonly nowMs: number;
    };
