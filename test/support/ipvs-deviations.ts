import type { DeviationId } from '../../src/backends/ipvs/deviations.ts';
import type { IpvsOptions } from '../../src/backends/ipvs/options.ts';
import { frontendId } from '../../src/graph/frontends.ts';
import { interpret } from '../../src/graph/interpret.ts';
import type { Outcome } from '../../src/graph/interpret.ts';
import { packetFrom } from '../../src/graph/packet.ts';
import { toNumber } from '../../src/graph/rational.ts';
import type { Pool, PoolEndpoint, RuleGraph } from '../../src/graph/rule-graph.ts';
import { isLoopback, isUnspecified } from '../../src/ip/address.ts';
import type { Address } from '../../src/ip/address.ts';
import type { Attempt } from './arbitraries.ts';
import { weightsCount } from './ipvs-simulator/traverse.ts';

/** How much of the packets ends where: an endpoint with its port and whether it is masqueraded, or a verdict. */
export type Shares = Readonly<Record<string, number>>;

export interface Meaning {
  readonly shares: Shares;
  /** Where it is not what `interpret` says. */
  readonly deviations: ReadonlySet<DeviationId>;
}

/** What `interpret` says of an attempt. */
export function interpreted(graph: RuleGraph, attempt: Attempt): Shares {
  return new Meant(graph, attempt, { reserved: () => undefined, scheduler: 'rr' }).interpreted();
}

/**
 * What ipvs mode is to make of an attempt: what `interpret` says, but for the deviations, which are applied here without
 * a look at what the lowering does.
 */
export function meantByIpvs(graph: RuleGraph, attempt: Attempt, settings: Settings): Meaning {
  return new Meant(graph, attempt, settings).meaning();
}

type Endpoint = Extract<Outcome, { readonly kind: 'endpoint' }>;
type Settings = Pick<IpvsOptions, 'reserved' | 'scheduler'>;

class Meant {
  readonly #graph: RuleGraph;
  readonly #attempt: Attempt;
  readonly #reserved: Settings['reserved'];
  readonly #scheduler: string;
  readonly #deviations = new Set<DeviationId>();

  constructor(graph: RuleGraph, attempt: Attempt, { reserved, scheduler }: Settings) {
    this.#graph = graph;
    this.#attempt = attempt;
    this.#reserved = reserved;
    this.#scheduler = scheduler;
  }

  interpreted(): Shares {
    return sharesOf(this.#outcomes(this.#graph).flatMap(sharesOfOutcome));
  }

  meaning(): Meaning {
    const shares = this.#unused(this.#served());
    return { shares, deviations: this.#deviations };
  }

  /** The outcomes of what is served at all, with the pool that the virtual server has. */
  #served(): Shares {
    const outcomes = this.#outcomes({ ...this.#graph, frontends: this.#servedFrontends() });
    return sharesOf(outcomes.flatMap((each) => this.#balanced(each)));
  }

  #outcomes(graph: RuleGraph): readonly Outcome[] {
    const packet = packetFrom(graph.node, this.#attempt);
    // the address of a service that is bound here is one of the node's own
    const fromNode = packet.fromNode || this.#attempt.inInterface === undefined;
    return interpret(graph, { ...packet, fromNode });
  }

  #servedFrontends(): RuleGraph['frontends'] {
    const { destination } = this.#attempt;
    const all = [...this.#graph.frontends];
    const served = all.filter(([, { kind, address }]) => {
      if (kind === 'nodePort')
        return this.#without('node ports of loopback', isLoopback(destination));
      if (address !== destination) return true;
      const isOwn = this.#graph.node.localAddresses.includes(address);
      const isReserved = kind !== 'clusterIP' && !isOwn && this.#reserved(address) !== undefined;
      return this.#without(
        'refused address',
        isReserved || isLoopback(address) || isUnspecified(address),
      );
    });
    return new Map(served.filter(([, { kind }]) => kind !== 'nodePort' || !this.#isOutdone()));
  }

  /** Whether the node port gives way for everybody: a place has one virtual server, and it is another frontend's. */
  #isOutdone(): boolean {
    const { protocol, destination, port } = this.#attempt;
    const own = this.#graph.frontends.get(frontendId(destination, protocol, port));
    const isOutdone = own?.branches.some(({ to }) => to.kind === 'pool') ?? false;
    if (isOutdone) this.#deviations.add('one pool');
    return isOutdone;
  }

  #without(id: DeviationId, isLeftOut: boolean): boolean {
    if (isLeftOut) this.#deviations.add(id);
    return !isLeftOut;
  }

  /** The share of an endpoint: its own, unless the virtual server has another pool or weights do not count. */
  #balanced(outcome: Outcome): readonly Share[] {
    if (outcome.kind !== 'endpoint') return sharesOfOutcome(outcome);
    const isNode = this.#attempt.inInterface === undefined;
    if (isNode && !outcome.masquerade) this.#deviations.add('masqueraded node');
    const masquerade = isNode || this.#isMasqueraded(outcome);
    const pool = this.#poolOf(outcome);
    const counts = this.#counts(pool);
    const isSame = pool.id === outcome.pool;
    if (!isSame) this.#deviations.add('one pool');
    if (isSame && counts)
      return sharesOfOutcome({ ...outcome, masquerade: masquerade || outcome.hairpin });
    return this.#spread(pool, counts, masquerade, outcome);
  }

  /** What the branch says that was taken, hairpins left aside. */
  #isMasqueraded({ frontend, path }: Endpoint): boolean {
    const step = path.findLast(({ node, taken }) => node === 'branch' && taken);
    const branches = this.#graph.frontends.get(frontend)?.branches ?? [];
    const to = branches.find(({ from }) => from === step?.id)?.to;
    return to?.kind === 'pool' && to.masquerade;
  }

  /** The pool of the virtual server: that of everybody where there is one. */
  #poolOf({ frontend, pool: chosen }: Endpoint): Pool {
    const last = this.#graph.frontends.get(frontend)?.branches.at(-1)?.to;
    const id = last?.kind === 'pool' ? last.pool : chosen;
    const pool = this.#graph.pools.get(id);
    if (pool === undefined) throw new Error(`no pool ${id}`);
    return pool;
  }

  #counts(pool: Pool): boolean {
    const { scheduling } = pool;
    const isWeighted = new Set(pool.endpoints.map(({ weight }) => weight)).size > 1;
    const isStoodInFor = scheduling === undefined && /^(?:rr|lc)$/.test(this.#scheduler);
    const heeds = isStoodInFor || weightsCount(scheduling?.scheduler ?? this.#scheduler);
    const counts = !isWeighted || heeds;
    if (!counts) this.#deviations.add('scheduler');
    return counts;
  }

  /** The share of one endpoint, over a pool. */
  #spread(
    { endpoints }: Pool,
    counts: boolean,
    masquerade: boolean,
    { probability }: Outcome,
  ): readonly Share[] {
    const share = ({ weight }: PoolEndpoint) => (counts ? weight : 1);
    const total = endpoints.reduce((sum, each) => sum + share(each), 0);
    return endpoints.map((each) => {
      const isHidden = masquerade || each.address === this.#attempt.source;
      const part = (toNumber(probability) * share(each)) / total;
      return [`${each.address} ${each.port} ${isHidden}`, part];
    });
  }

  /** A packet that is no service's, at an address that is bound for one. */
  #unused(shares: Shares): Shares {
    if (!('pass' in shares) || !this.#isBound() || this.#asksForHealth()) return shares;
    this.#deviations.add('unused port');
    return { reject: 1 };
  }

  #asksForHealth(): boolean {
    const { protocol, port } = this.#attempt;
    return protocol === 'TCP' && this.#graph.healthCheckPorts.has(port);
  }

  #isBound(): boolean {
    const { destination } = this.#attempt;
    if (this.#graph.node.localAddresses.includes(destination) || isLoopback(destination))
      return false;
    const of = [...this.#graph.frontends.values()].filter(({ address }) => address === destination);
    return of.some(({ kind }) => kind === 'clusterIP' || this.#reserved(destination) === undefined);
  }
}

/**
 * Shares without a word on whether sources are hidden, of endpoints on the node's own addresses: what arrives for one never
 * leaves the node, so nothing is masqueraded, whatever the graph says.
 */
export function withoutOwnSources(shares: Shares, own: readonly Address[]): Shares {
  return sharesOf(
    Object.entries(shares).map(([key, share]) => {
      const [where = '', port] = key.split(' ');
      return [own.includes(where as Address) ? `${where} ${port}` : key, share];
    }),
  );
}

type Share = readonly [string, number];

function sharesOfOutcome(outcome: Outcome): readonly Share[] {
  const share = toNumber(outcome.probability);
  if (outcome.kind !== 'endpoint') return [[outcome.kind, share]];
  const { endpoint, masquerade } = outcome;
  return [[`${endpoint.address} ${endpoint.port} ${masquerade}`, share]];
}

/** Adds up what ends at the same place. */
export function sharesOf(all: Iterable<Share>): Shares {
  const shares: Record<string, number> = {};
  for (const [key, share] of all) shares[key] = (shares[key] ?? 0) + share;
  return shares;
}
