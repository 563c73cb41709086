import type { Origin, RuleGraph } from '../../graph/rule-graph.ts';
import type { Address, Family } from '../../ip/address.ts';
import type { ListenerKey, RelayProtocol, Route } from '../../relay/relay.ts';
import type { IptablesState } from '../iptables/state.ts';

/** A listener as the graph asks for it, before it has a port. */
export interface WantedListener {
  readonly key: ListenerKey;
  readonly protocol: RelayProtocol;
  readonly routes: readonly Route[];
  readonly origin: Origin;
  /** Where it has to stand (portals are none); undefined: at the one address of the node, any port. */
  readonly place: { readonly address: Address; readonly port: number } | undefined;
}

/** Where listeners stand: by their keys, the ports at the one address of the node. */
export type ListenerPorts = ReadonlyMap<ListenerKey, number>;

/** Everything the userspace backend wants for one family. Pure data, made by `lower`. */
export interface UserspaceState {
  readonly family: Family;
  readonly listeners: ReadonlyMap<ListenerKey, WantedListener>;
  /** The graph in which each pool is the listener that stands for it. */
  readonly portals: RuleGraph;
  /** The portals' rules; undefined where there are none. */
  readonly rules: IptablesState | undefined;
}
