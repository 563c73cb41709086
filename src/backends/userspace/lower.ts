import type { GraphDelta, RuleGraph } from '../../graph/rule-graph.ts';
import type { Address, Family } from '../../ip/address.ts';
import { Lowering } from '../iptables/lower.ts';
import type { Excluded } from '../iptables/lower.ts';
import type { Chain, LoweringOptions } from '../iptables/state.ts';
import { Framing } from './framing.ts';
import { GuardedPorts, guardOf } from './guard.ts';
import { ListenerLowering } from './listeners.ts';
import { PortalGraphs } from './portal-graph.ts';
import type {
  ListenerPorts,
  UserspaceFeatures,
  UserspaceOptions,
  UserspaceState,
  WantedListeners,
} from './state.ts';

const everything: GraphDelta = { everything: true, frontends: new Set(), pools: new Set() };

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
 * Ports are chosen once the listeners are known, so it comes in two halves: `listeners`, then `portals` for the same graph
 * and delta. `portals` may be called again, with other ports and an empty delta.
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
    this.listeners(graph, delta);
    return this.portals(graph, delta, ports, exclude);
  }

  /** The listeners the graph asks for; those of service ports that are left out of the rules, too. */
  listeners(graph: RuleGraph, delta: GraphDelta): WantedListeners {
    return this.#keeping(graph.family, (parts, isNew) =>
      parts.listeners(graph, isNew ? everything : delta),
    );
  }

  /** The state, with the portals to those listeners that have a port. */
  portals(
    graph: RuleGraph,
    delta: GraphDelta,
    ports: ListenerPorts,
    exclude: Excluded = new Set(),
  ): UserspaceState {
    return this.#keeping(graph.family, (parts) => parts.portals(graph, delta, ports, exclude));
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
  readonly #listening: ListenerLowering;
  readonly #graphs = new PortalGraphs();
  readonly #lowering: Lowering;
  readonly #guarded: GuardedPorts | undefined;
  readonly #framing = new Framing();
  #listeners: WantedListeners | undefined;
  #hasPortals = false;

  constructor(family: Family, options: UserspaceOptions) {
    this.#features = options.features;
    this.#listening = new ListenerLowering(options);
    this.#lowering = new Lowering(portalOptions(options.features));
    this.#guarded = options.features.guard === 'ipset' ? new GuardedPorts(family) : undefined;
  }

  listeners(graph: RuleGraph, delta: GraphDelta): WantedListeners {
    this.#listeners = this.#listening.lower(graph, delta);
    return this.#listeners;
  }

  portals(
    graph: RuleGraph,
    given: GraphDelta,
    ports: ListenerPorts,
    exclude: Excluded,
  ): UserspaceState {
    const delta = this.#hasPortals ? given : everything;
    const listeners = this.#listeners ?? this.listeners(graph, everything);
    const { family, node } = graph;
    const portals = this.#graphs.lower(graph, delta, ports);
    const rules = this.#lowering.lower(portals.graph, portals.delta, exclude);
    const set = this.#guarded?.publish(node.nodeAddress, listeners, ports);
    this.#hasPortals = true;
    return {
      family,
      address: node.nodeAddress,
      listeners,
      refused: this.#graphs.refused(),
      portals: portals.graph,
      rules: this.#framing.of(rules, this.#guard(family, node.nodeAddress), set),
    };
  }

  #guard(family: Family, address: Address | undefined): Chain {
    return guardOf(family, address, this.#features);
  }
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
