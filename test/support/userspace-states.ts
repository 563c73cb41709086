import { KeyedTable } from '../../src/backends/keyed-table.ts';
import { UserspaceLowering } from '../../src/backends/userspace/lower.ts';
import { defaultUserspaceOptions } from '../../src/backends/userspace/state.ts';
import type {
  ListenerPort,
  ListenerPorts,
  UserspaceOptions,
  UserspaceState,
  WantedListeners,
} from '../../src/backends/userspace/state.ts';
import type { RuleGraph } from '../../src/graph/rule-graph.ts';
import type { ListenerKey } from '../../src/relay/relay.ts';

/** Ports from 20001 on, in the order of the keys. */
export function portsInOrder(listeners: WantedListeners): ListenerPorts {
  const keys = [...listeners.keys()].toSorted();
  return portsOf(keys.map((key, i) => [key, { port: 20_001 + i }]));
}

export function portsOf(
  entries: Iterable<readonly [ListenerKey | string, ListenerPort]>,
): ListenerPorts {
  return new KeyedTable<ListenerKey, ListenerPort>().with(
    new Map(Array.from(entries, ([key, port]) => [key as ListenerKey, port])),
  );
}

const nothing = { everything: false, frontends: new Set<never>(), pools: new Set<never>() };

/** The state of a graph; each listener has a port ({@link portsInOrder}), unless `ports` says otherwise. */
export function userspaceState(
  graph: RuleGraph,
  ports: (listeners: WantedListeners) => ListenerPorts = portsInOrder,
  options: UserspaceOptions = defaultUserspaceOptions,
): UserspaceState {
  const lowering = new UserspaceLowering(options);
  const all = { everything: true, frontends: new Set<never>(), pools: new Set<never>() };
  const listeners = lowering.listeners(graph, all);
  const chosen = ports(listeners);
  lowering.listeners(graph, nothing, chosen);
  return lowering.portals(graph, chosen);
}
