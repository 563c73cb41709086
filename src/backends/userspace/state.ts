import type { Origin, RuleGraph } from '../../graph/rule-graph.ts';
import type { Address, Family } from '../../ip/address.ts';
import type { PortRange } from '../../ip/port-range.ts';
import type { Listener, ListenerKey, RelayProtocol, Route } from '../../relay/relay.ts';
import type { LeftOutEndpoint } from '../sync-report.ts';
import type { Features, IptablesState } from '../iptables/state.ts';
import type { KeyedTable } from '../keyed-table.ts';

/** A listener as the graph asks for it, before it has a port. */
export interface WantedListener {
  readonly key: ListenerKey;
  readonly protocol: RelayProtocol;
  readonly routes: readonly Route[];
  readonly origin: Origin;
  /** Where it has to stand (portals are none); undefined: at the one address of the node, any port. */
  readonly place: ListenerPlace | undefined;
  /** What clients ask, where all of them ask the same. */
  readonly asked?: Listener['asked'];
}

/** A fixed place of a listener. */
export interface ListenerPlace {
  readonly address: Address;
  readonly port: number;
  /** The port to take where this user may not have `port` (EACCES); undefined: there is no other. */
  readonly otherwise: number | undefined;
}

/** Listeners by key; versions are compared by what differs. */
export type WantedListeners = KeyedTable<ListenerKey, WantedListener>;

/** The port of a listener at the one address of the node, or why it has none: `port 20017 is in use (EADDRINUSE)`. */
export type ListenerPort = { readonly port: number } | { readonly refused: string };

/** Where listeners stand. One that is not in it is refused too: it has no port yet. */
export type ListenerPorts = KeyedTable<ListenerKey, ListenerPort>;

/** A service port, or a part of it, that no listener serves. */
export interface RefusedListener {
  readonly key: ListenerKey;
  readonly origin: Origin;
  readonly reason: string;
}

/** Everything the userspace backend wants for one family, with portals by rules. Pure data, made by `lower`. */
export interface UserspaceState {
  readonly family: Family;
  /** The one address of the node at which listeners stand; undefined: it has none of this family, and all is refused. */
  readonly address: Address | undefined;
  readonly listeners: WantedListeners;
  /** Sorted by key. */
  readonly refused: readonly RefusedListener[];
  /** Sorted. */
  readonly leftOut: readonly LeftOutEndpoint[];
  /** The graph in which each pool is the listener that stands for it. */
  readonly portals: RuleGraph;
  /** The rules of the portals, and the guard of the listeners' ports. */
  readonly rules: IptablesState;
}

/** What lowering needs of tools and kernel. */
export interface UserspaceFeatures {
  /** How the ports of listeners are known: a set of them, or where ipset is missing the range they are chosen from. */
  readonly guard: 'ipset' | PortRange;
  readonly comments: Features['comments'];
}

/** Settings of the lowering that come from the configuration. */
export interface UserspaceOptions {
  readonly features: UserspaceFeatures;
  /** Of Services that say nothing: when a UDP flow ends, and how long connections to an endpoint that left may last. */
  readonly udpTimeoutMs: number;
  readonly drainSeconds: number;
}

/** What `render` assumes, and the agent unless it is told otherwise. */
export const defaultUserspaceOptions: UserspaceOptions = {
  features: { guard: 'ipset', comments: 'auto' },
  udpTimeoutMs: 250,
  drainSeconds: 300,
};
