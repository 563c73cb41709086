import type { Family } from '../../ip/address.ts';
import type { Origin } from '../../graph/rule-graph.ts';
import type { KeyedTable } from '../keyed-table.ts';

export type TableName = 'filter' | 'nat' | 'mangle';
/** At most 28 characters, the kernel's limit. */
export type ChainName = string & { readonly __brand: 'ChainName' };
/** At most 31 characters, the kernel's limit. */
export type SetName = string & { readonly __brand: 'SetName' };

/** One rule: its arguments as they follow `-A CHAIN` in a restore file. */
export interface Rule {
  readonly args: string;
  /** The service port the rule is for; undefined for static rules and tree nodes. */
  readonly origin: Origin | undefined;
}

/**
 * A chain of ours with its complete content. `root` chains are rewritten by every restore and carry the
 * generation comment; `generated` ones are written when they differ, deleted when they are gone.
 * Unchanged chains keep their identity (===) between states, which makes a diff cheap.
 */
export interface Chain {
  readonly name: ChainName;
  readonly role: 'root' | 'generated';
  readonly rules: readonly Rule[];
}

/** A jump from a built-in chain into one of ours; put at the top if missing. */
export interface Jump {
  readonly table: TableName;
  /** `INPUT`, `FORWARD`, `OUTPUT`, `PREROUTING`, `POSTROUTING` */
  readonly from: string;
  readonly to: ChainName;
  /** Match arguments before `-j`; '' for none. */
  readonly match: string;
}

/** An ipset, created before and destroyed after the rules that use it. Members are the kernel's own. */
export interface IpsetSpec {
  readonly name: SetName;
  /** Arguments after `create NAME`: `hash:ip family inet timeout 10800 …` */
  readonly create: string;
  /** Members we own; undefined: the kernel fills it (affinity). */
  readonly members: SetMembers | undefined;
}

/**
 * Members of a set: a sorted list, or where there may be ten thousands of them a table, whose versions are compared
 * by what differs.
 */
export type SetMembers = readonly string[] | MemberTable;
export type MemberTable = KeyedTable<string, true>;

/** Everything the iptables backend wants in the kernel for one family. Pure data, made by `lower`. */
export interface IptablesState {
  readonly family: Family;
  readonly tables: Readonly<Record<TableName, ReadonlyMap<ChainName, Chain>>>;
  /** In the order in which they are made. */
  readonly jumps: readonly Jump[];
  readonly sets: ReadonlyMap<SetName, IpsetSpec>;
}

/** What the tools and kernel can do; `render` assumes a fixed set, `doctor` and the agent probe it. */
export interface Features {
  /** How a hairpin is recognised after DNAT: one bpf rule, an ipset, or a rule an endpoint. */
  readonly hairpin: 'bpf' | 'ipset' | 'rules';
  /** Where ClientIP affinity is kept: a timeout ipset an endpoint, or xt_recent (100 clients a list). */
  readonly affinity: 'ipset' | 'recent';
  /** MASQUERADE --random-fully (iptables ≥ 1.6.2). */
  readonly randomFully: boolean;
  /** Comments on rules of endpoints and shared chains; off over 1,000 endpoints, as upstream. */
  readonly comments: 'all' | 'auto' | 'none';
  /** Packets are counted in kube-proxy's nfacct objects, which are there. */
  readonly nfacct?: true;
}

/** What `render` assumes: needs nothing but iptables-restore. */
export const defaultFeatures: Features = {
  hairpin: 'bpf',
  affinity: 'recent',
  randomFully: true,
  comments: 'auto',
};

/** Settings of the lowering that come from the configuration. */
export interface LoweringOptions {
  readonly features: Features;
  /** 1 << masqueradeBit */
  readonly masqueradeMark: number;
  /** Effective only for IPv4: node ports answer on 127.0.0.1 and KUBE-FIREWALL is written. */
  readonly localhostNodePorts: boolean;
  /** net.netfilter.nf_conntrack_tcp_be_liberal is on: no INVALID drop rule. */
  readonly conntrackBeLiberal: boolean;
}
