import { frontendId } from '../../graph/frontends.ts';
import type { NodeContext } from '../../graph/node-context.ts';
import type { Frontend, FrontendId, Pool, PoolId, RuleGraph } from '../../graph/rule-graph.ts';
import type { Address } from '../../ip/address.ts';
import type { Protocol } from '../../services/service-port.ts';
import type { Excluded } from '../iptables/lower.ts';
import { nodePortAddresses } from './node-addresses.ts';
import { virtualServerKey } from './servers.ts';
import type { ServerPlace } from './state.ts';

/** A graph seen by places: a node port is at as many as there are addresses on which it answers. */
export class GraphPlaces {
  readonly node: NodeContext;
  readonly #graph: RuleGraph;
  readonly #exclude: Excluded;
  readonly #own: ReadonlySet<Address>;
  readonly #nodePortAddresses: ReadonlySet<Address>;

  constructor(graph: RuleGraph, exclude: Excluded) {
    this.node = graph.node;
    this.#graph = graph;
    this.#exclude = exclude;
    this.#own = new Set(graph.node.localAddresses);
    this.#nodePortAddresses = new Set(nodePortAddresses(graph.node));
  }

  /** The places of frontends, whether or not the graph has them still. */
  ofAll(ids: Iterable<FrontendId>): readonly ServerPlace[] {
    return Array.from(ids).flatMap((id) => {
      const [address = '', protocol, port] = id.split('/');
      const addresses = address === 'nodePort' ? this.#nodePortAddresses : [address as Address];
      return Array.from(addresses, (each) => placeAt(each, protocol as Protocol, Number(port)));
    });
  }

  /**
   * Whose packets those at a place are: its own frontend's before the node port's, but one that only refuses gives
   * way, as it does in `interpret`.
   */
  frontendAt({ address, protocol, port }: ServerPlace): Frontend | undefined {
    const ids = [frontendId(address, protocol, port)];
    if (this.#nodePortAddresses.has(address)) ids.push(frontendId(undefined, protocol, port));
    const found = ids.flatMap((id) => this.#graph.frontends.get(id) ?? []);
    const candidates = found.filter(({ origin }) => !this.#exclude.has(origin.name));
    return candidates.find(leadsToPool) ?? candidates[0];
  }

  /** Whether an interface of the node has the address, other than kube-ipvs0. */
  isOwn(address: Address): boolean {
    return this.#own.has(address);
  }

  pool(id: PoolId): Pool {
    const pool = this.#graph.pools.get(id);
    if (pool === undefined) throw new TypeError(`pool ${id} is not in the graph`);
    return pool;
  }
}

function leadsToPool({ branches }: Frontend): boolean {
  return branches.some(({ to }) => to.kind === 'pool');
}

function placeAt(address: Address, protocol: Protocol, port: number): ServerPlace {
  return { key: virtualServerKey(protocol, address, port), address, protocol, port };
}
