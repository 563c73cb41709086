import type { GraphDelta, RuleGraph } from '../../graph/rule-graph.ts';
import { hostPort } from '../../ip/address.ts';
import type { Family } from '../../ip/address.ts';
import type { ListenerKey, Relay } from '../../relay/relay.ts';
import type { ServicePort } from '../../services/service-port.ts';
import type { Backend } from '../backend.ts';
import type { SyncReport, Unprogrammed } from '../sync-report.ts';
import type { DesiredState } from '../desired.ts';
import { listSets } from '../iptables/ipsets.ts';
import type { Observed } from '../iptables/read.ts';
import { RulesApplier } from '../iptables/rules-applier.ts';
import type { RulesApplierParts } from '../iptables/rules-applier.ts';
import { setsReason } from '../iptables/set-audit.ts';
import { userspaceGuard } from '../iptables/userspace-names.ts';
import { guardHolds } from './guard.ts';
import { Listening } from './listening.ts';
import type { Standings } from './listening.ts';
import type { UserspaceLowering } from './lower.ts';
import type { PlaceKeeper } from './place-keeper.ts';
import { NodePlaces } from './places.ts';
import type { PortChooser } from './ports.ts';
import type { RefusedListener, UserspaceState } from './state.ts';

/** What a {@link UserspaceBackend} is made of. */
export interface UserspaceBackendParts extends RulesApplierParts {
  readonly family: Family;
  readonly lowering: Pick<UserspaceLowering, 'listeners' | 'portals'>;
  readonly relay: Pick<Relay, 'change' | 'admit'>;
  readonly ports: PortChooser;
  readonly keeper: Pick<PlaceKeeper, 'keepPorts'>;
  /** Told after each sync how many listeners of this family there are. */
  readonly onListening?: (count: number) => void;
}

const everything: GraphDelta = { everything: true, frontends: new Set(), pools: new Set() };
const nothing: GraphDelta = { everything: false, frontends: new Set(), pools: new Set() };

/**
 * The userspace mode for one family: listeners of the relay, and the rules that lead clients there. Listeners come before
 * their rules and go after them; what changes endpoints alone runs no tool.
 */
export class UserspaceBackend implements Backend {
  readonly mode = 'userspace';
  readonly #parts: UserspaceBackendParts;
  readonly #rules: RulesApplier;
  readonly #listening: Listening;
  readonly #places: NodePlaces;
  /** Whether the lowering has made all of the last graph: what it has not has to be made anew. */
  #isLowered = false;
  /** What was asked of the kernel last. */
  #state: UserspaceState | undefined;
  /** What the kernel holds; undefined where that is not certain. */
  #applied: UserspaceState | undefined;

  constructor(parts: UserspaceBackendParts) {
    this.#parts = parts;
    this.#rules = new RulesApplier(parts);
    this.#listening = new Listening(parts.relay);
    this.#places = new NodePlaces(parts.family, parts.ports);
  }

  invalidate(): void {
    this.#applied = undefined;
    this.#rules.invalidate();
  }

  async sync(graph: RuleGraph, delta: GraphDelta, signal: AbortSignal): Promise<SyncReport> {
    const { report, hasFreed } = await this.#pass(graph, delta, signal);
    // A port that has become free may be what a listener is refused for.
    if (!hasFreed || this.#state?.refused.length === 0) return report;
    const { report: second } = await this.#pass(graph, nothing, signal);
    return merged(report, second);
  }

  async audit(signal: AbortSignal): Promise<string | undefined> {
    if (this.#applied === undefined) return undefined; // a full sync is due anyway
    const reason = await this.#rules.audit(signal);
    const { sets } = this.#applied.rules;
    if (reason !== undefined || sets.size === 0) return reason;
    return setsReason(sets, await listSets(this.#parts.tools, signal));
  }

  inFront(): readonly string[] {
    return this.#rules.inFront;
  }

  desired(): DesiredState | undefined {
    if (this.#state === undefined) return undefined;
    return { variant: this.#parts.iptables.variant, rules: this.#state.rules };
  }

  /** Who answers for a service port, as connection tracking sees it: `192.168.0.2:20017`. */
  answering({ key }: Pick<ServicePort, 'key'>): readonly string[] {
    const { family } = this.#parts;
    return (['cluster', 'local'] as const).flatMap((list) => {
      const standing = this.#listening.standings.get(`${key} ${list} ${family}` as ListenerKey);
      if (standing === undefined || 'refused' in standing) return [];
      return [hostPort(standing.address, standing.port)];
    });
  }

  async #pass(
    graph: RuleGraph,
    given: GraphDelta,
    signal: AbortSignal,
  ): Promise<{ readonly report: SyncReport; readonly hasFreed: boolean }> {
    const delta = this.#isLowered ? given : everything;
    this.#isLowered = false;
    const state = await this.#lower(graph, delta);
    this.#state = state;
    this.#isLowered = true;
    const before = this.#applied;
    this.#applied = undefined; // until this sync has succeeded, nothing is certain
    let hasFreed = false;
    const report = await this.#rules.apply(state.rules, signal, {
      // Where the guard stands, who comes by the new rules is let in by the first of them.
      prepared: async (observed) => {
        if (isGuarded(before, state, observed)) await this.#listening.admit();
      },
      run: async () => {
        hasFreed = await this.#listening.closeGone(this.#places);
        return { last: [] };
      },
    });
    if (report.failure === undefined) {
      await this.#listening.admit();
      this.#applied = state;
    }
    this.#parts.onListening?.(this.#listening.count);
    return {
      report: {
        ...report,
        unprogrammed: unprogrammed(report, state.refused),
        leftOutEndpoints: state.leftOut,
      },
      hasFreed,
    };
  }

  /** Opens the listeners, and keeps their ports before a rule names one. */
  async #lower(graph: RuleGraph, delta: GraphDelta): Promise<UserspaceState> {
    const { lowering, keeper, family } = this.#parts;
    const before = this.#listening.standings;
    const listeners = lowering.listeners(graph, delta, before);
    const hasMoved = this.#places.moveTo(graph.node.nodeAddress);
    let standings = await this.#listening.open(listeners, this.#places, { anew: hasMoved });
    if (standings !== before) {
      // an endpoint may be where a listener stands now, or stood
      const others = lowering.listeners(graph, nothing, standings);
      if (others !== listeners) standings = await this.#listening.open(others, this.#places);
      await keeper.keepPorts(family, portsOf(standings));
    }
    return lowering.portals(graph, standings);
  }
}

/** Whether nobody reaches the listeners past the portals: by rules of this run, or, at a start, by those that were found. */
function isGuarded(
  before: UserspaceState | undefined,
  { rules }: UserspaceState,
  observed: Observed | undefined,
): boolean {
  if (observed !== undefined) return guardHolds(observed, rules);
  const guard = rules.tables.filter.get(userspaceGuard);
  return guard !== undefined && before?.rules.tables.filter.get(userspaceGuard) === guard;
}

function portsOf(standings: Standings): ReadonlyMap<ListenerKey, number> {
  const ports = new Map<ListenerKey, number>();
  for (const [key, standing] of standings)
    if (!('refused' in standing)) ports.set(key, standing.port);
  return ports;
}

function unprogrammed(
  report: SyncReport,
  refused: readonly RefusedListener[],
): readonly Unprogrammed[] {
  const reasons = new Map(report.unprogrammed.map(({ name, reason }) => [name, reason]));
  for (const { origin, reason } of refused)
    if (!reasons.has(origin.name)) reasons.set(origin.name, reason);
  return [...reasons]
    .map(([name, reason]) => ({ name, reason }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Two passes of one sync. */
function merged(first: SyncReport, second: SyncReport): SyncReport {
  const tables = Object.entries(second.rulesWritten).map(([table, written]): [string, number] => [
    table,
    written + (first.rulesWritten[table] ?? 0),
  ]);
  return {
    ...second,
    full: first.full || second.full,
    rulesWritten: Object.fromEntries(tables),
    refusedWrites: {
      full: first.refusedWrites.full + second.refusedWrites.full,
      partial: first.refusedWrites.partial + second.refusedWrites.partial,
    },
  };
}
