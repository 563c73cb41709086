import type { GraphDelta, RuleGraph } from '../../graph/rule-graph.ts';
import type { Address, Family } from '../../ip/address.ts';
import { Lowering } from '../iptables/lower.ts';
import type { Excluded } from '../iptables/lower.ts';
import type { Chain, LoweringOptions } from '../iptables/state.ts';
import { KeyedTable } from '../keyed-table.ts';
import { Framing } from './framing.ts';
import { GuardedPorts, guardOf } from './guard.ts';
import { ListenerLowering } from './listeners.ts';
import { PortalGraphs } from './portal-graph.ts';
import type { GraphVersion } from './portal-graph.ts';
import type {
  ListenerPorts,
  UserspaceFeatures,
  UserspaceOptions,
  UserspaceState,
  WantedListeners,
} from './state.ts';
import { StraightGraphs } from './straight-graphs.ts';

const everything: GraphDelta = { everything: true, frontends: new Set(), pools: new Set() };
const nothing: GraphDelta = { everything: false, frontends: new Set(), pools: new Set() };

/** The state for a graph, made from nothing. */
export function lowerUserspace(
  graph: RuleGraph,
  ports: ListenerPorts,
  options: UserspaceOptions,
  exclude?: Excluded,
): UserspaceState {
  return new UserspaceLowering(options).lower(graph, everything, ports, exclude);
}

/**
 * Makes the userspace state of rule graphs, one after the other: only what a delta names is made anew, and the result
 * depends on the last graph and ports alone. What did not change keeps its identity.
 *
 * Ports are chosen once the listeners are known, so it comes in two halves: `listeners`, then `portals` for the same graph.
 * Both may be called again, with other ports and an empty delta; `listeners` should be, since an endpoint may be where a
 * listener stands now.
 */
export class UserspaceLowering {
  readonly #options: UserspaceOptions;
  #parts: Parts | undefined;

  constructor(options: UserspaceOptions) {
    this.#options = options;
  }

  /** Both halves at once, for ports that are known. */
  lower(
    graph: RuleGraph,
    delta: GraphDelta,
    ports: ListenerPorts,
    exclude?: Excluded,
  ): UserspaceState {
    this.listeners(graph, delta, ports);
    return this.portals(graph, ports, exclude);
  }

  /** The listeners the graph asks for; those of service ports that are left out of the rules, too. `standing`: where listeners are. */
  listeners(graph: RuleGraph, delta: GraphDelta, standing?: ListenerPorts): WantedListeners {
    return this.#keeping(graph.family, (parts, isNew) =>
      parts.listeners(graph, isNew ? everything : delta, standing),
    );
  }

  /** The state of the graph that the listeners are of, with the portals to those that have a port. */
  portals(graph: RuleGraph, ports: ListenerPorts, exclude: Excluded = new Set()): UserspaceState {
    return this.#keeping(graph.family, (parts) => parts.portals(graph, ports, exclude));
  }

  /** Half of a change must not be kept where a graph cannot be lowered. */
  #keeping<T>(family: Family, action: (parts: Parts, isNew: boolean) => T): T {
    const isNew = this.#parts === undefined;
    const parts = this.#parts ?? new Parts(family, this.#options);
    this.#parts = undefined;
    const result = action(parts, isNew);
    this.#parts = parts;
    return result;
  }
}

/** What is kept from one graph to the next. */
class Parts {
  readonly #features: UserspaceFeatures;
  readonly #straight = new StraightGraphs();
  readonly #listening: ListenerLowering;
  readonly #graphs = new PortalGraphs();
  readonly #lowering: Lowering;
  readonly #guarded: GuardedPorts | undefined;
  readonly #framing = new Framing();
  #listeners: WantedListeners = new KeyedTable();
  /** The graph that was made last, and what of it the portals do not know yet. */
  #made: GraphVersion | undefined;

  constructor(family: Family, options: UserspaceOptions) {
    this.#features = options.features;
    this.#listening = new ListenerLowering(options);
    this.#lowering = new Lowering(portalOptions(options.features));
    this.#guarded = options.features.guard === 'ipset' ? new GuardedPorts(family) : undefined;
  }

  listeners(
    given: RuleGraph,
    since: GraphDelta,
    standing: ListenerPorts = new KeyedTable(),
  ): WantedListeners {
    const { graph, delta } = this.#straight.lower(given, since, standing);
    this.#made = { graph, delta: this.#made ? both(this.#made.delta, delta) : everything };
    this.#listeners = this.#listening.lower(graph, delta);
    return this.#listeners;
  }

  portals(given: RuleGraph, ports: ListenerPorts, exclude: Excluded): UserspaceState {
    if (this.#made === undefined) this.listeners(given, everything);
    const { graph, delta } = this.#made ?? { graph: given, delta: everything };
    this.#made = { graph, delta: nothing };
    const listeners = this.#listeners;
    const { family, node } = graph;
    const portals = this.#graphs.lower(graph, delta, ports);
    const rules = this.#lowering.lower(portals.graph, portals.delta, exclude);
    const set = this.#guarded?.publish(node.nodeAddress, listeners, ports);
    return {
      family,
      address: node.nodeAddress,
      listeners,
      refused: this.#graphs.refused(),
      leftOut: this.#straight.leftOut(),
      portals: portals.graph,
      rules: this.#framing.of(rules, this.#guard(family, node.nodeAddress), set),
    };
  }

  #guard(family: Family, address: Address | undefined): Chain {
    return guardOf(family, address, this.#features);
  }
}

/** What differs by one change or the other. */
function both(a: GraphDelta, b: GraphDelta): GraphDelta {
  return {
    everything: a.everything || b.everything,
    frontends: new Set([...a.frontends, ...b.frontends]),
    pools: new Set([...a.pools, ...b.pools]),
  };
}

/** Portals masquerade nothing, balance nothing and remember nobody: whatever is for that is not asked of the kernel. */
function portalOptions({ comments }: UserspaceFeatures): LoweringOptions {
  return {
    features: { hairpin: 'bpf', affinity: 'recent', randomFully: false, comments },
    masqueradeMark: 0x4000,
    // the node's own packets to 127.0.0.1 stay on the loopback device: no route_localnet, so no KUBE-FIREWALL
    localhostNodePorts: false,
    conntrackBeLiberal: false,
  };
}
