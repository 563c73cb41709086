import type { GraphDelta, Origin, Pool, RuleGraph } from '../../graph/rule-graph.ts';
import { SwitchyardError } from '../../error.ts';
import type { Address, Family } from '../../ip/address.ts';
import type { Cidr } from '../../ip/cidr.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Backend, SyncReport, Unprogrammed } from '../backend.ts';
import { CarefulLowering } from '../careful-lowering.ts';
import type { DesiredState } from '../desired.ts';
import type { RememberingLowering } from '../careful-lowering.ts';
import { Turns } from '../turns.ts';
import { missingCure } from '../iptables/apply.ts';
import { ipvsModeChains } from '../iptables/ipvs-names.ts';
import type { FoundMembers } from '../iptables/kept-sets.ts';
import { RulesApplier } from '../iptables/rules-applier.ts';
import type { Outcome, RulesApplierParts } from '../iptables/rules-applier.ts';
import { AddressTable } from './address-table.ts';
import { Auditor } from './auditor.ts';
import { changingFrontends } from './changing-frontends.ts';
import { ClosedFrontends } from './closed-frontends.ts';
import { readDevice } from './device.ts';
import type { BoundAddresses } from './device.ts';
import { changedKeys } from './diff.ts';
import type { TargetServer } from './diff.ts';
import { isInAny } from './excluded.ts';
import { DrainWatch } from './drain-watch.ts';
import { Drains } from './drains.ts';
import type { Draining } from './drains.ts';
import { readKernelTable } from './kernel-table.ts';
import type { ObservedServers, ServerPlace, TableReader } from './kernel-table.ts';
import { Lacking } from './lacking.ts';
import { Ownership, readMembers } from './ownership.ts';
import { ServerTable, refusalReason } from './server-table.ts';
import type { RefusedLine, Targets } from './server-table.ts';
import { frontendMember, holds, ipvsSet } from './sets.ts';
import { ShortfallNotices } from './shortfalls.ts';
import type { IpvsState, VirtualServer, VirtualServerKey } from './state.ts';

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
  readonly #log: Log;
  readonly #lowering: CarefulLowering<IpvsState>;
  readonly #rules: RulesApplier;
  readonly #table: ServerTable;
  readonly #addresses: AddressTable;
  readonly #drains: Drains;
  readonly #drainWatch: DrainWatch;
  readonly #closed: ClosedFrontends;
  readonly #auditor: Auditor;
  readonly #shortfalls: ShortfallNotices;
  #lowered: IpvsState | undefined;
  /** What was last asked for; undefined: the kernel has to be read, and the next sync is full. */
  #applied: IpvsState | undefined;
  /** Servers that are not as they were asked to be, and why. */
  #refusedServers = new Map<VirtualServerKey, RefusedLine>();
  /** Servers whose members are not in their sets. */
  #waitingServers: ReadonlySet<VirtualServerKey> = new Set();
  #schedulerVersion = 0;
  /** Syncs, audits and looks at what drains take turns. */
  readonly #turns = new Turns();

  constructor(parts: IpvsBackendParts) {
    const { family, tools, log, clock, lifetime, readTable = readKernelTable } = parts;
    this.#parts = parts;
    this.#log = log;
    this.#lowering = new CarefulLowering(parts.lowering);
    this.#rules = new RulesApplier(parts);
    this.#table = new ServerTable({ family, tools, log, readTable });
    this.#shortfalls = new ShortfallNotices(log);
    this.#addresses = new AddressTable({ tools, log, isExcluded: this.#isExcluded });
    const drains = new Drains(parts);
    this.#drains = drains;
    const remove = async (): Promise<void> => this.#turns.take(async () => this.#removeDrained());
    this.#drainWatch = new DrainWatch({ drains, clock, log, lifetime, remove });
    this.#closed = new ClosedFrontends(family);
    const [rules, table, isExcluded] = [this.#rules, this.#table, this.#isExcluded];
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

  async #sync(state: IpvsState, signal: AbortSignal): Promise<SyncReport> {
    const before = this.#applied;
    this.#applied = undefined; // until this sync has succeeded, nothing is certain
    const found = before === undefined ? await this.#read(signal) : undefined;
    const refusedBefore = this.#refusedServers.size + this.#addresses.refused.size;
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
      run: async (failure) => this.#program(state, targets, new Lacking(failure), signal),
    });
    const failure = report.failure ?? this.#stuckFailure();
    if (failure === undefined) this.#applied = state;
    else this.#rules.invalidate(); // members that had to stay are known to the kernel alone
    this.#parts.onApplied?.(state);
    this.#shortfalls.tell(state.shortfalls);
    this.#drainWatch.begin();
    const full = report.full || before === undefined;
    const hasRefusals = this.#refusedServers.size + this.#addresses.refused.size > refusedBefore;
    const { refusedWrites: refused } = report;
    return {
      ...report,
      failure,
      full,
      refusedWrites: hasRefusals
        ? { full: refused.full + Number(full), partial: refused.partial + Number(!full) }
        : refused,
      unprogrammed: [...report.unprogrammed, ...this.#unprogrammed()],
      refusedAddresses: state.refused,
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
    const refused = this.#refusedServers.keys();
    return this.#targets(state, [...keys, ...refused, ...this.#drains.servers]);
  }

  /** Gives what is not to be closed any more. */
  async #program(
    state: IpvsState,
    targets: Targets,
    lacking: Lacking,
    signal: AbortSignal,
  ): Promise<Outcome> {
    this.#refusedServers = new Map();
    this.#waitingServers = lacking.heldBack(targets, this.#table.servers);
    const ready = new Map([...targets].filter(([key]) => !this.#waitingServers.has(key)));
    // What refused these, or goes with them, is needed until they have come or gone.
    const isWaiting = this.#waitingServers.size > 0;
    const going = this.#going(ready);
    await this.#write(ready, (target) => target !== undefined, signal);
    if (lacking.isUnknown) return { last: [], keepsMembers: true };
    const wanted = this.#bindable(state, lacking);
    const open = this.#missing(state).filter(
      ({ address }) => wanted.has(address) || !state.addresses.has(address),
    );
    await this.#rules.addMembers(this.#closed.close(open), signal);
    await this.#addresses.write(wanted, signal);
    // An address that stays would lead to the node's own sockets.
    const { stuck } = this.#addresses;
    const stays = new Set(going.filter(({ address }) => stuck.has(address)).map(({ key }) => key));
    const free = new Map([...ready].filter(([key]) => !stays.has(key)));
    await this.#write(free, (target) => target === undefined, signal);
    const keepsMembers = isWaiting || stuck.size > 0;
    this.#settleDrains();
    this.#checkAnythingServed(state);
    const stay = [...this.#missing(state), ...(keepsMembers ? going : [])];
    return { last: this.#closed.open(stay), keepsMembers };
  }

  #going(targets: Targets): readonly ServerPlace[] {
    return [...targets].flatMap(([key, target]) =>
      target === undefined ? (this.#table.servers.get(key) ?? []) : [],
    );
  }

  /** Virtual servers that the kernel would not take, or that have to wait. */
  #missing({ servers }: IpvsState): readonly VirtualServer[] {
    return [...this.#refusedServers.keys(), ...this.#waitingServers].flatMap((key) =>
      this.#table.servers.has(key) ? [] : (servers.get(key) ?? []),
    );
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

  #targets(state: IpvsState, keys: Iterable<VirtualServerKey>): Targets {
    const targets = new Map<VirtualServerKey, TargetServer | undefined>();
    for (const key of new Set(keys)) {
      const have = this.#table.servers.get(key);
      const wanted = state.servers.get(key);
      if (wanted === undefined && (have === undefined || this.#isExcluded(have.address))) {
        this.#drains.forget(key);
        continue;
      }
      const refused = (): boolean => have !== undefined && isRefused(state, have);
      targets.set(key, this.#drains.target(have, wanted, refused));
    }
    return targets;
  }

  async #write(
    targets: Targets,
    which: (target: TargetServer | undefined) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const some = new Map([...targets].filter(([, target]) => which(target)));
    const refused = await this.#table.write(some, signal);
    for (const key of some.keys()) this.#refusedServers.delete(key);
    for (const [key, line] of refused) {
      this.#refusedServers.set(key, line);
      this.#log.error({ servicePort: line.origin?.name, server: key }, refusalReason(line));
    }
  }

  /** Without its virtual servers an address would lead to the node's own sockets. */
  #bindable({ addresses, servers }: IpvsState, lacking: Lacking): IpvsState['addresses'] {
    const isSettled = this.#refusedServers.size + this.#waitingServers.size === 0;
    if (isSettled && lacking.isNothing) return addresses;
    const served = new Set([...this.#table.servers.values()].map(({ address }) => address));
    const unserved = (keys: Iterable<VirtualServerKey>): ReadonlySet<Address | undefined> => {
      const all = Array.from(keys, (key) => servers.get(key)?.address);
      return new Set(all.filter((address) => address && !served.has(address)));
    };
    const refused = unserved(this.#refusedServers.keys());
    const waiting = unserved(this.#waitingServers);
    const waits = (address: Address): boolean =>
      (waiting.has(address) || lacking.holdsBackAddress(address)) &&
      this.#addresses.bound?.has(address) !== true;
    return new Map([...addresses].filter(([each]) => !refused.has(each) && !waits(each)));
  }

  /** What refuses everything has to be mended or passes: that is no matter of single services. */
  #checkAnythingServed({ servers }: IpvsState): void {
    const [first] = this.#refusedServers.values();
    if (first === undefined || servers.size < 2) return;
    if ([...servers.keys()].some((key) => this.#table.servers.has(key))) return;
    throw new SwitchyardError('tool', `no virtual server is taken: ${refusalReason(first)}`, {
      retryable: true,
      hint: missingCure,
    });
  }

  /** What is at an address that the kernel would not let go stays with it; the next sync reads what is there, and tries again. */
  #stuckFailure(): SwitchyardError | undefined {
    const [reason] = this.#addresses.stuck.values();
    return reason === undefined
      ? undefined
      : new SwitchyardError('tool', reason, { retryable: true, hint: missingCure });
  }

  #unprogrammed(): readonly Unprogrammed[] {
    const reasons = new Map<Unprogrammed['name'], string>();
    const add = ({ name }: Pick<Origin, 'name'>, reason: string): void => {
      if (!reasons.has(name)) reasons.set(name, reason);
    };
    for (const line of this.#refusedServers.values())
      if (line.origin !== undefined) add(line.origin, refusalReason(line));
    for (const { name, reason } of this.#addresses.refused.values()) add({ name }, reason);
    return [...reasons]
      .map(([name, reason]) => ({ name, reason }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
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
    const targets = this.#targets(state, this.#table.doubtUnshown());
    await this.#write(targets, (target) => target !== undefined, this.#parts.lifetime);
  }

  readonly #isExcluded = (address: Address): boolean => isInAny(this.#parts.excludeCidrs, address);

  async #removeDrained(): Promise<void> {
    const state = this.#applied;
    if (state === undefined) return; // the next sync reads the kernel
    const drained = new Set(this.#drains.servers);
    this.#drains.look(await this.#table.read(this.#parts.lifetime, drained));
    const targets = this.#targets(state, this.#drains.servers);
    await this.#write(targets, () => true, this.#parts.lifetime);
    this.#settleDrains();
  }

  #settleDrains(): void {
    this.#drains.settle(this.#table.servers);
    this.#parts.onDraining?.(this.#drains.draining);
  }
}

/** Whether rules refuse new connections to a virtual server that is not wanted any more. */
function isRefused({ family, rules }: IpvsState, place: Omit<ServerPlace, 'key'>): boolean {
  const member = frontendMember(place.address, place.protocol, place.port);
  return (['REJECTED', 'DROP-ALL'] as const).some((role) =>
    holds(rules.sets.get(ipvsSet(role, family))?.members, member),
  );
}
