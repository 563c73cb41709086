import { isDeepStrictEqual } from 'node:util';
import type { ServicePort, ServicePortKey } from '../services/service-port.ts';
import { Claims, conflictOf } from './claims.ts';
import { FrontendClaims } from './frontend-claims.ts';
import { compileServicePort } from './frontends.ts';
import type { CompiledServicePort } from './frontends.ts';
import type { NodeContext } from './node-context.ts';
import { compareBytes } from './order.ts';
import type {
  Conflict,
  Frontend,
  FrontendId,
  GraphDelta,
  HealthCheckId,
  Origin,
  Pool,
  PoolId,
  RuleGraph,
} from './rule-graph.ts';

/**
 * Compiles the service ports of one family into a rule graph, and keeps it: the graph it returns is
 * a live view, valid until the next call. The cost of a call is that of what changed.
 */
export class GraphCompiler {
  readonly #frontends = new Map<FrontendId, Frontend>();
  readonly #pools = new Map<PoolId, Pool>();
  /** Branches of the graph's frontends that lead to a pool. */
  readonly #poolUses = new Map<PoolId, number>();
  readonly #healthCheckPorts = new Map<number, Origin>();
  readonly #compiled = new Map<ServicePortKey, CompiledServicePort>();
  readonly #frontendClaims = new FrontendClaims();
  readonly #healthCheckClaims = new Claims<number, CompiledServicePort>();
  #conflicts: readonly Conflict[] | undefined;
  #node: NodeContext | undefined;

  /**
   * Brings the graph up to date. `changed` names every service port that was added, changed or
   * removed since the last call; after a change of the node (compared by content) and at the first
   * call all of `servicePorts` is compiled, whatever `changed` says.
   */
  compile(
    servicePorts: ReadonlyMap<ServicePortKey, ServicePort>,
    changed: ReadonlySet<ServicePortKey>,
    node: NodeContext,
  ): { readonly graph: RuleGraph; readonly delta: GraphDelta } {
    const everything = this.#node === undefined || !isDeepStrictEqual(this.#node, node);
    if (everything) this.#node = node;
    const touched = new Touched();
    const keys = everything ? new Set([...this.#compiled.keys(), ...servicePorts.keys()]) : changed;
    if (keys.size > 0) this.#conflicts = undefined;
    for (const key of keys) this.#replace(key, servicePorts.get(key), this.#node ?? node, touched);
    for (const id of touched.frontends.keys()) this.#settle(id, touched);
    return { graph: this.#view(this.#node ?? node), delta: this.#delta(everything, touched) };
  }

  #replace(
    key: ServicePortKey,
    port: ServicePort | undefined,
    node: NodeContext,
    touched: Touched,
  ): void {
    const before = this.#compiled.get(key);
    if (before) {
      for (const { id } of before.frontends) this.#touch(id, touched);
      this.#frontendClaims.remove(before);
      this.#claimHealthCheck(before, 'remove');
      this.#compiled.delete(key);
    }
    if (!port) return;
    const after = compileServicePort(port, node);
    for (const { id } of after.frontends) this.#touch(id, touched);
    this.#frontendClaims.add(after);
    this.#claimHealthCheck(after, 'add');
    this.#compiled.set(key, after);
  }

  #touch(id: FrontendId, touched: Touched): void {
    touched.frontend(id, this.#frontends.get(id));
    for (const rival of this.#frontendClaims.contesting(id))
      touched.frontend(rival, this.#frontends.get(rival));
  }

  /** Puts the winner's frontend into the graph, or takes the frontend out where nobody wants it. */
  #settle(id: FrontendId, touched: Touched): void {
    const winning = this.#frontendClaims.winning(id);
    const held = this.#frontends.get(id);
    const wanted = winning?.frontend;
    // An equal frontend keeps its identity: lowerings recognise what did not change by it.
    if (held && wanted && isDeepStrictEqual(held, wanted)) return;
    for (const pool of poolsOf(wanted)) {
      this.#usePool(
        pool,
        winning?.of.pools.find((each) => each.id === pool),
        touched,
      );
    }
    for (const pool of poolsOf(held)) this.#releasePool(pool, touched);
    if (wanted) this.#frontends.set(id, wanted);
    else this.#frontends.delete(id);
  }

  #usePool(id: PoolId, pool: Pool | undefined, touched: Touched): void {
    const uses = this.#poolUses.get(id) ?? 0;
    this.#poolUses.set(id, uses + 1);
    if (uses > 0 || !pool) return;
    touched.pool(id, false);
    this.#pools.set(id, pool);
  }

  #releasePool(id: PoolId, touched: Touched): void {
    const uses = (this.#poolUses.get(id) ?? 0) - 1;
    if (uses > 0) {
      this.#poolUses.set(id, uses);
      return;
    }
    touched.pool(id, true);
    this.#poolUses.delete(id);
    this.#pools.delete(id);
  }

  #claimHealthCheck(compiled: CompiledServicePort, action: 'add' | 'remove'): void {
    const port = compiled.healthCheckNodePort;
    if (port === 0) return;
    this.#healthCheckClaims[action](port, compiled);
    const winner = this.#healthCheckClaims.winner(port);
    if (winner) this.#healthCheckPorts.set(port, winner.origin);
    else this.#healthCheckPorts.delete(port);
  }

  #delta(everything: boolean, touched: Touched): GraphDelta {
    const frontends = new Set<FrontendId>();
    const pools = new Set<PoolId>();
    for (const [id, before] of touched.frontends) {
      if (this.#frontends.get(id) !== before) frontends.add(id);
    }
    for (const [id, wasThere] of touched.pools) {
      if (this.#pools.has(id) !== wasThere) pools.add(id);
    }
    return { everything, frontends, pools };
  }

  #view(node: NodeContext): RuleGraph {
    const conflicts = (): readonly Conflict[] => (this.#conflicts ??= this.#listConflicts());
    return {
      family: node.family,
      node,
      frontends: this.#frontends,
      pools: this.#pools,
      healthCheckPorts: this.#healthCheckPorts,
      get conflicts() {
        return conflicts();
      },
    };
  }

  #listConflicts(): readonly Conflict[] {
    return [...this.#frontendClaims.conflicts(), ...this.#healthCheckConflicts()].toSorted(
      (a, b) =>
        compareBytes(a.claimed, b.claimed) ||
        compareBytes(a.loser.servicePort, b.loser.servicePort) ||
        compareBytes(a.winner.servicePort, b.winner.servicePort),
    );
  }

  /** All ports of a Service share its health check port: only other Services lose it, each once. */
  *#healthCheckConflicts(): Generator<Conflict> {
    for (const [port, [winner, ...others]] of this.#healthCheckClaims.contested()) {
      if (!winner) continue;
      const told = new Set([winner.claimant.origin.service]);
      for (const loser of others) {
        const { service } = loser.claimant.origin;
        if (!told.has(service))
          yield conflictOf(`healthCheckNodePort/${port}` as HealthCheckId, winner, loser);
        told.add(service);
      }
    }
  }
}

/** The rule graph of all given service ports, compiled from nothing. Pure. */
export function compileAll(
  servicePorts: ReadonlyMap<ServicePortKey, ServicePort>,
  node: NodeContext,
): RuleGraph {
  return new GraphCompiler().compile(servicePorts, new Set(servicePorts.keys()), node).graph;
}

/** What one compile laid hands on, with the state before it: the delta is what ended up different. */
class Touched {
  readonly frontends = new Map<FrontendId, Frontend | undefined>();
  readonly pools = new Map<PoolId, boolean>();

  frontend(id: FrontendId, before: Frontend | undefined): void {
    if (!this.frontends.has(id)) this.frontends.set(id, before);
  }

  pool(id: PoolId, wasThere: boolean): void {
    if (!this.pools.has(id)) this.pools.set(id, wasThere);
  }
}

function poolsOf(frontend: Frontend | undefined): readonly PoolId[] {
  if (!frontend) return [];
  return frontend.branches.flatMap(({ to }) => (to.kind === 'pool' ? [to.pool] : []));
}
