import { compareFrontends } from '../../graph/order.ts';
import type { Frontend, FrontendId, Origin, RuleGraph } from '../../graph/rule-graph.ts';
import { hostPort, isLoopback } from '../../ip/address.ts';
import type { Address } from '../../ip/address.ts';
import type { ListenerKey, RelayProtocol } from '../../relay/relay.ts';
import type { ServiceName } from '../../services/service-port.ts';
import type { LeftOutEndpoint } from '../sync-report.ts';
import { noSctp, relayProtocol } from './listeners.ts';
import { loopbackAddresses } from './loopback-addresses.ts';
import { dialled, graphWith, leftOutOf, straightened } from './own-places.ts';
import type { Straightened } from './own-places.ts';
import { sourceRoutes } from './source-routes.ts';
import type { UserspaceOptions, WantedListener } from './state.ts';

/** Settings of listeners without portals. */
export interface StandingOptions extends Pick<UserspaceOptions, 'udpTimeoutMs' | 'drainSeconds'> {
  /** What a port below 1024 is moved by where it is refused. */
  readonly portOffset: number;
}

/** A frontend, and the listener that serves it, or why none does. */
export interface StandingFrontend {
  readonly frontend: Frontend;
  readonly served: { readonly key: ListenerKey } | { readonly reason: string };
}

/** Everything the userspace backend wants without portals, of both families. Pure data. */
export interface StandingState {
  /** Each with its place. */
  readonly listeners: ReadonlyMap<ListenerKey, WantedListener>;
  /** The loopback addresses of Services, to be kept for the next time. */
  readonly addresses: ReadonlyMap<ServiceName, Address>;
  /** In the order in which frontends are printed, IPv4 first. */
  readonly frontends: readonly StandingFrontend[];
  /** Sorted. */
  readonly leftOut: readonly LeftOutEndpoint[];
}

/**
 * Listeners at the frontends' own places, for a node on which nobody makes rules. The graphs are those of the families, the
 * preferred one first: a place has one listener, and where a Service has both families it leads to the endpoints of the
 * first one that has any for somebody.
 */
export function standListeners(
  graphs: readonly RuleGraph[],
  options: StandingOptions,
  kept?: ReadonlyMap<ServiceName, Address>,
): StandingState {
  const clusterIPs = graphs.flatMap(({ frontends }) =>
    [...frontends.values()].filter(({ kind }) => kind === 'clusterIP'),
  );
  const own = new Set(clusterIPs.flatMap(({ address }) => address ?? []).filter(isBindable));
  const services = clusterIPs.filter(({ address }) => address !== undefined && !own.has(address));
  const names = services.map(({ origin }) => origin.service);
  const addresses = loopbackAddresses(names, kept, own);
  const state = standAt(graphs, new Map(), new Standing(options, addresses));
  const found = straightenedAll(graphs, state.listeners);
  // What it leads to was no place then, and there are no more places now.
  return found.size === 0 ? state : standAt(graphs, found, new Standing(options, addresses));
}

/** What of each graph is straightened. */
type StraightenedGraphs = ReadonlyMap<RuleGraph, ReadonlyMap<FrontendId, Straightened>>;

function standAt(
  graphs: readonly RuleGraph[],
  found: StraightenedGraphs,
  standing: Standing,
): StandingState {
  for (const graph of graphs) {
    const own = found.get(graph);
    standing.add(graph, own ? graphWith(graph, own) : graph);
  }
  const leftOut = leftOutOf(Array.from(found.values()).flatMap((own) => [...own.values()]));
  return { ...standing.state(), leftOut };
}

/** Frontends of which an endpoint is the place of a listener, whichever of its two ports that has in the end. */
function straightenedAll(
  graphs: readonly RuleGraph[],
  listeners: StandingState['listeners'],
): StraightenedGraphs {
  const places = new Map<PlaceKey, ListenerKey>();
  for (const { key, protocol, place } of listeners.values()) {
    if (place === undefined) continue;
    for (const port of [place.port, place.otherwise ?? place.port])
      places.set(`${protocol} ${hostPort(place.address, port)}`, key);
  }
  const found = new Map<RuleGraph, ReadonlyMap<FrontendId, Straightened>>();
  for (const graph of graphs) {
    const own = new Map<FrontendId, Straightened>();
    for (const frontend of graph.frontends.values()) {
      const each = straightened(frontend, graph.pools, (protocol, { address, port }) => {
        if (protocol === 'SCTP') return undefined;
        const listener = places.get(`${protocol} ${hostPort(dialled(address), port)}`);
        return listener && `the listener of ${listener}`;
      });
      if (each) own.set(frontend.id, each);
    }
    if (own.size > 0) found.set(graph, own);
  }
  return found;
}

/** A cluster IP that is a place to listen at: there is but one loopback address in IPv6, so Services cannot share it. */
function isBindable(address: Address): boolean {
  return isLoopback(address) && !address.includes(':');
}

type PlaceKey = `${RelayProtocol} ${string}`;

class Standing {
  readonly #options: StandingOptions;
  readonly #addresses: ReadonlyMap<ServiceName, Address>;
  readonly #places = new Map<PlaceKey, WantedListener>();
  readonly #frontends: StandingFrontend[] = [];

  constructor(options: StandingOptions, addresses: ReadonlyMap<ServiceName, Address>) {
    this.#options = options;
    this.#addresses = addresses;
  }

  /** `straight`: the graph with other endpoints. */
  add(graph: RuleGraph, straight: RuleGraph): void {
    for (const frontend of [...graph.frontends.values()].toSorted(compareFrontends)) {
      const leading = straight.frontends.get(frontend.id) ?? frontend;
      for (const served of this.#serve(leading, straight))
        this.#frontends.push({ frontend, served });
    }
  }

  state(): Omit<StandingState, 'leftOut'> {
    const listeners = Array.from(this.#places.values(), (listener) => this.#movable(listener));
    return {
      listeners: new Map(listeners.map((listener) => [listener.key, listener])),
      addresses: this.#addresses,
      frontends: this.#frontends,
    };
  }

  /** What becomes of a frontend, at each of its places. */
  #serve(frontend: Frontend, graph: RuleGraph): readonly StandingFrontend['served'][] {
    const protocol = relayProtocol(frontend.protocol);
    if (protocol === undefined) return [{ reason: noSctp }];
    const places = placesOf(frontend, graph, this.#addresses);
    if ('reason' in places) return [places];
    const routes = sourceRoutes(frontend, graph, protocol, this.#options);
    const { origin, port, branches } = frontend;
    if (routes.length === 0) {
      const last = branches.at(-1)?.to;
      return [{ reason: last === undefined || last.kind === 'pool' ? 'nobody' : last.reason }];
    }
    return places.addresses.map((address) => {
      const where: PlaceKey = `${protocol} ${hostPort(address, port)}`;
      const there = this.#places.get(where);
      if (there) return sharing(there, origin);
      const key = `${origin.servicePort} at ${hostPort(address, port)}` as ListenerKey;
      const place = { address, port, otherwise: undefined };
      this.#places.set(where, { key, protocol, routes, origin, place });
      return { key };
    });
  }

  /** The listener with another port to take; one that nobody else wants. */
  #movable(listener: WantedListener): WantedListener {
    const { place, protocol } = listener;
    if (place === undefined || place.port >= 1024) return listener;
    const { address } = place;
    let port = place.port + this.#options.portOffset;
    while (port <= 65_535 && this.#places.has(`${protocol} ${hostPort(address, port)}`)) port++;
    return { ...listener, place: { ...place, otherwise: port <= 65_535 ? port : undefined } };
  }
}

/** The other family of a service port is served by the same listener; anybody else comes too late. */
function sharing(there: WantedListener, { servicePort }: Origin): StandingFrontend['served'] {
  if (there.origin.servicePort === servicePort) return { key: there.key };
  return { reason: `${there.origin.name} listens there` };
}

function placesOf(
  { kind, address, origin }: Frontend,
  { node }: RuleGraph,
  own: ReadonlyMap<ServiceName, Address>,
): { readonly addresses: readonly Address[] } | { readonly reason: string } {
  switch (kind) {
    case 'clusterIP': {
      const place =
        address !== undefined && isBindable(address) ? address : own.get(origin.service);
      return { addresses: place === undefined ? [] : [place] };
    }
    case 'nodePort': {
      const where = node.nodePortAddresses;
      if (where.kind === 'all') return { addresses: ['127.0.0.1' as Address] };
      if (where.addresses.length > 0) return { addresses: where.addresses };
      return { reason: 'no address of this machine is for node ports' };
    }
    case 'externalIP':
    case 'loadBalancerIP': {
      const isHere = address !== undefined && node.localAddresses.includes(address);
      return isHere ? { addresses: [address] } : { reason: `no address of this machine` };
    }
    default:
      return kind satisfies never;
  }
}
