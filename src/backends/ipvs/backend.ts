import type { GraphDelta, Pool, RuleGraph } from '../../graph/rule-graph.ts';
import type { Address, Family } from '../../ip/address.ts';
import type { Cidr } from '../../ip/cidr.ts';
import type { Backend } from '../backend.ts';
import type { SyncReport } from '../sync-report.ts';
import { CarefulLowering } from '../careful-lowering.ts';
import type { DesiredState } from '../desired.ts';
import type { RememberingLowering } from '../careful-lowering.ts';
import { Turns } from '../turns.ts';
import { ipvsModeChains } from '../iptables/ipvs-names.ts';
import type { FoundMembers } from '../iptables/kept-sets.ts';
import { RulesApplier } from '../iptables/rules-applier.ts';
import type { RulesApplierParts } from '../iptables/rules-applier.ts';
import { AddressTable } from './address-table.ts';
import { Auditor } from './auditor.ts';
import { changingFrontends } from './changing-frontends.ts';
import { ClosedFrontends } from './closed-frontends.ts';
import { readDevice } from './device.ts';
import type { BoundAddresses } from './device.ts';
import { changedKeys } from './diff.ts';
import { isInAny } from './excluded.ts';
import { DrainWatch } from './drain-watch.ts';
import { Drains } from './drains.ts';
import type { Draining } from './drains.ts';
import { HeldAddresses } from './held-addresses.ts';
import { readKernelTable } from './kernel-table.ts';
import type { ObservedServers, TableReader } from './kernel-table.ts';
import { Lacking } from './lacking.ts';
import { Ownership, readMembers } from './ownership.ts';
import { ServerTable, coming } from './server-table.ts';
import type { Targets } from './server-table.ts';
import { ServerWriter } from './server-writer.ts';
import { ipvsSet } from './sets.ts';
import { ShortfallNotices } from './shortfalls.ts';
import type { IpvsState } from './state.ts';

/** What an {@link IpvsBackend} is made of. */
export interface IpvsBackendParts extends RulesApplierParts {
  readonly family: Family;
  readonly lowering: RememberingLowering<IpvsState>;
  /** Asked before the lowering, which goes by its answers; without it, all schedulers are taken to be there. */
  readonly schedulers?: SchedulerInquiry;
  /** Virtual servers and addresses in these are not taken away, whoever made them. */
  readonly excludeCidrs: readonly Cidr[];
  /** How long the connections of a real server that goes may last, where a Service says nothing. */
  readonly drainSeconds: number;
  /** Ends the watch over what drains; what drains then is drained by the next run. */
  readonly lifetime: AbortSignal;
  /** Told whenever what drains was looked at; for metrics. */
  readonly onDraining?: (draining: Draining) => void;
  /** Told of what is in the kernel, after each sync that succeeds. */
  readonly onApplied?: (state: IpvsState) => void;
  readonly readTable?: TableReader;
}

/** Finds out whether the kernel has the schedulers that pools ask for. */
export interface SchedulerInquiry {
  readonly version: number;
  ready(pools: Iterable<Pool>, signal: AbortSignal): Promise<void>;
}

/** What the kernel had before the first write. */
interface Found {
  readonly servers: ObservedServers;
  readonly bound: BoundAddresses;
  readonly sets: FoundMembers;
  readonly ownership: Ownership;
}

/** The ipvs mode for one family: virtual servers, addresses of kube-ipvs0, and the rules and sets around them. */
export class IpvsBackend implements Backend {
  readonly mode = 'ipvs';
  readonly #parts: IpvsBackendParts;
  readonly #lowering: CarefulLowering<IpvsState>;
  readonly #rules: RulesApplier;
  readonly #table: ServerTable;
  readonly #addresses: AddressTable;
  readonly #held: HeldAddresses;
  readonly #drains: Drains;
  readonly #drainWatch: DrainWatch;
  readonly #closed: ClosedFrontends;
  readonly #writer: ServerWriter;
  readonly #auditor: Auditor;
  readonly #shortfalls: ShortfallNotices;
  #lowered: IpvsState | undefined;
  /** What was last asked for; undefined: the kernel has to be read, and the next sync is full. */
  #applied: IpvsState | undefined;
  #schedulerVersion = 0;
  /** Syncs, audits and looks at what drains take turns. */
  readonly #turns = new Turns();

  constructor(parts: IpvsBackendParts) {
    const { family, tools, log, clock, lifetime, readTable = readKernelTable } = parts;
    this.#parts = parts;
    this.#lowering = new CarefulLowering(parts.lowering);
    this.#rules = new RulesApplier(parts);
    this.#table = new ServerTable({ family, tools, log, readTable });
    this.#shortfalls = new ShortfallNotices(log);
    this.#addresses = new AddressTable({ tools, log, isExcluded: this.#isExcluded });
    this.#held = new HeldAddresses(clock);
    const drains = new Drains(parts);
    this.#drains = drains;
    const remove = async (): Promise<void> => this.#turns.take(async () => this.#removeDrained());
    this.#drainWatch = new DrainWatch({ drains, clock, log, lifetime, remove });
    this.#closed = new ClosedFrontends(family);
    const [rules, table, isExcluded] = [this.#rules, this.#table, this.#isExcluded];
    this.#writer = new ServerWriter({
      table,
      addresses: this.#addresses,
      closed: this.#closed,
      drains,
      addMembers: async (members, signal) => rules.addMembers(members, signal),
      isExcluded,
      onDraining: parts.onDraining,
      log,
    });
    this.#auditor = new Auditor({ family, tools, clock, rules, table, isExcluded });
  }

  invalidate(): void {
    this.#applied = undefined;
    this.#rules.invalidate();
  }

  async sync(graph: RuleGraph, delta: GraphDelta, signal: AbortSignal): Promise<SyncReport> {
    return this.#turns.take(async () =>
      this.#sync(await this.#lower(graph, delta, signal), signal),
    );
  }

  inFront(): readonly string[] {
    return this.#rules.inFront;
  }

  async audit(signal: AbortSignal): Promise<string | undefined> {
    return this.#turns.take(async () => this.#audit(signal));
  }

  desired(): DesiredState | undefined {
    if (this.#lowered === undefined) return undefined;
    const { servers, addresses, rules } = this.#lowered;
    const { excludeCidrs, iptables } = this.#parts;
    return { variant: iptables.variant, rules, balancing: { servers, addresses, excludeCidrs } };
  }

  /** Resolves when nothing drains any more, or the backend's lifetime is over. */
  async ended(): Promise<void> {
    await this.#drainWatch.ended();
  }

  async #lower(graph: RuleGraph, delta: GraphDelta, signal: AbortSignal): Promise<IpvsState> {
    const { schedulers } = this.#parts;
    const changed = [...delta.pools].flatMap((id) => graph.pools.get(id) ?? []);
    await schedulers?.ready(delta.everything ? graph.pools.values() : changed, signal);
    const version = schedulers?.version ?? 0;
    const everything = delta.everything || version !== this.#schedulerVersion;
    this.#lowered = this.#lowering.lower(graph, { ...delta, everything });
    this.#schedulerVersion = version;
    return this.#lowered;
  }

  async #sync(wanted: IpvsState, signal: AbortSignal): Promise<SyncReport> {
    const report = await this.#write(this.#held.beside(wanted), signal);
    if (!this.#held.hold(this.#addresses.stuck)) return report;
    // What was at these addresses has stayed with them; it goes, while rules keep to refuse what comes for them.
    this.invalidate();
    const rest = await this.#write(this.#held.beside(wanted), signal);
    const [one, other] = [report.refusedWrites, rest.refusedWrites];
    const refusedWrites = { full: one.full + other.full, partial: one.partial + other.partial };
    return { ...rest, refusedWrites };
  }

  /** Brings the kernel to a state. */
  async #write(state: IpvsState, signal: AbortSignal): Promise<SyncReport> {
    const before = this.#applied;
    this.#applied = undefined; // until this sync has succeeded, nothing is certain
    const found = before === undefined ? await this.#read(signal) : undefined;
    const refusedBefore = this.#writer.refusals;
    if (found !== undefined) this.#takeOver(state, found);
    const targets = this.#plan(before, state);
    const report = await this.#rules.apply(state.rules, signal, {
      found: found?.sets,
      ahead: {
        ownChains: ipvsModeChains,
        ownSources: ipvsSet('BOUND', this.#parts.family),
      },
      first: this.#closed.close([
        ...changingFrontends({
          targets,
          state,
          there: this.#table.servers,
          bound: this.#addresses.bound,
          membersBefore: (set) => found?.sets.get(set) ?? before?.rules.sets.get(set)?.members,
        }),
        ...(found?.ownership.formerPlaces(state, this.#table.servers) ?? []),
      ]),
      run: async (failure) => this.#writer.program(state, targets, new Lacking(failure), signal),
    });
    if (report.failure === undefined) this.#applied = state;
    else this.#rules.invalidate(); // members that had to stay are known to the kernel alone
    this.#parts.onApplied?.(state);
    this.#shortfalls.tell(state.shortfalls);
    this.#drainWatch.begin();
    const full = report.full || before === undefined;
    const hasRefusals = this.#writer.refusals > refusedBefore;
    const { refusedWrites: refused } = report;
    return {
      ...report,
      full,
      refusedWrites: hasRefusals
        ? { full: refused.full + Number(full), partial: refused.partial + Number(!full) }
        : refused,
      unprogrammed: [...report.unprogrammed, ...this.#writer.unprogrammed()],
      refusedAddresses: state.refused,
      stuckAddresses: this.#held.stuck,
    };
  }

  /** Before sets are written: those of an earlier run tell which virtual servers are ours. */
  async #read(signal: AbortSignal): Promise<Found> {
    const { family, tools } = this.#parts;
    const [shown, bound, sets] = await Promise.all([
      this.#table.read(signal),
      readDevice(family, tools, signal),
      readMembers(family, tools, signal),
    ]);
    const ownership = new Ownership(sets, bound?.keys() ?? []);
    const isDoubted = ownership.namesMoreThan(shown.values());
    const servers = isDoubted ? await this.#table.read(signal, undefined, true) : shown;
    return { servers, bound, sets, ownership };
  }

  #plan(before: IpvsState | undefined, state: IpvsState): Targets {
    const keys =
      before === undefined
        ? [...this.#table.servers.keys(), ...state.servers.keys()]
        : changedKeys(before.servers, state.servers);
    return this.#writer.targets(state, [...keys, ...this.#writer.refused, ...this.#drains.servers]);
  }

  #takeOver(state: IpvsState, { servers, bound, sets, ownership }: Found): void {
    this.#closed.take(sets);
    const known = this.#table.servers;
    const ours = [...servers.values()].filter(
      (server) =>
        state.servers.has(server.key) || known.has(server.key) || ownership.isOurs(server),
    );
    this.#table.take(ours);
    this.#auditor.madeSure();
    this.#addresses.take(bound);
  }

  async #audit(signal: AbortSignal): Promise<string | undefined> {
    const state = this.#applied;
    if (state === undefined) return undefined; // a full sync is due anyway
    const written = { sets: state.rules.sets, bound: new Set(this.#addresses.bound?.keys()) };
    const { reason, isThorough } = await this.#auditor.look(written, signal);
    if (reason !== undefined || !isThorough) return reason;
    await this.#writeUnshown(state);
    this.#auditor.madeSure();
    return undefined;
  }

  /**
   * Flags of schedulers and seconds of persistence, in place. To ask for them costs a question for each virtual server,
   * also for the many that have none.
   */
  async #writeUnshown(state: IpvsState): Promise<void> {
    const targets = this.#writer.targets(state, this.#table.doubtUnshown());
    await this.#writer.write(coming(targets), this.#parts.lifetime);
  }

  readonly #isExcluded = (address: Address): boolean => isInAny(this.#parts.excludeCidrs, address);

  async #removeDrained(): Promise<void> {
    const state = this.#applied;
    if (state === undefined) return; // the next sync reads the kernel
    const drained = new Set(this.#drains.servers);
    this.#drains.look(await this.#table.read(this.#parts.lifetime, drained));
    await this.#writer.write(
      this.#writer.targets(state, this.#drains.servers),
      this.#parts.lifetime,
    );
    this.#writer.settleDrains();
  }
}
