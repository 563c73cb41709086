import type { Backend } from '../backends/backend.ts';
import type { SyncReport } from '../backends/sync-report.ts';
import { Turns } from '../backends/turns.ts';
import type { Clock } from '../clock.ts';
import type { NodeContext } from '../graph/node-context.ts';
import type { GraphDelta, RuleGraph } from '../graph/rule-graph.ts';
import type { InformerHandler } from '../informer/source.ts';
import { objectKey } from '../informer/kind.ts';
import { Wakeup } from '../informer/wakeup.ts';
import type { Family } from '../ip/address.ts';
import type { EndpointSliceObject, ServiceObject } from '../services/objects.ts';
import type { ServicePort, ServicePortKey } from '../services/service-port.ts';
import type { CatalogChanges, ServiceCatalog } from '../services/service-catalog.ts';
import type { Log } from '../telemetry/log.ts';
import type { ProxyMetrics } from '../telemetry/metrics.ts';
import type { SyncRecord } from './admin/sync-record.ts';
import { ConntrackTurns } from './conntrack-turns.ts';
import type { ProxyHealth } from './health.ts';
import type { NodeEvents } from './node-events.ts';
import { Notices } from './notices.ts';
import type { Told } from './notices.ts';
import { Programming } from './programming-state.ts';
import type { ServiceEvents } from './service-events.ts';
import { SyncMeter } from './sync-meter.ts';
import { SyncRunner } from './sync-runner.ts';

/** What a pipeline needs of a catalog; {@link ServiceCatalog} is the one there is. */
type Catalog = Pick<
  ServiceCatalog,
  | 'setService'
  | 'removeService'
  | 'setSlice'
  | 'removeSlice'
  | 'setZone'
  | 'take'
  | 'pending'
  | 'waiting'
>;

/** What a pipeline needs of a graph compiler. */
interface Compiler {
  compile(
    servicePorts: ReadonlyMap<ServicePortKey, ServicePort>,
    changed: ReadonlySet<ServicePortKey>,
    node: NodeContext,
  ): { readonly graph: RuleGraph; readonly delta: GraphDelta };
}

export interface PipelineOptions {
  readonly family: Family;
  readonly catalog: Catalog;
  readonly compiler: Compiler;
  readonly backend: Backend;
  /** The node as it is now; the same object as long as nothing the rules depend on changed. */
  readonly node: (signal: AbortSignal) => Promise<NodeContext>;
  readonly health: ProxyHealth;
  readonly metrics: ProxyMetrics;
  readonly clock: Clock;
  readonly log: Log;
  readonly events?: ServiceEvents | undefined;
  readonly nodeEvents?: NodeEvents | undefined;
  /** What was told by an agent before this one, and is told; left out: nothing. */
  readonly told?: Told | undefined;
  /** Another agent of the process counts what it is told of, until this one works in its place. */
  readonly takesOver?: boolean;
  /** Remembers what somebody may ask. */
  readonly record?: SyncRecord;
  /** These two may change: {@link Pipeline.settingsChanged}. */
  readonly syncPeriodMs: number;
  readonly minSyncPeriodMs: number;
  /** Called once, after the first sync; stale connection tracking entries may still be looked for. */
  readonly onFirstRules: () => void;
  /** Brings the servers of healthCheckNodePorts up to date; called after rules are written. */
  readonly serveHealth: (
    servicePorts: ReadonlyMap<ServicePortKey, ServicePort>,
    graph: RuleGraph,
  ) => Promise<void>;
  /** Whatever was reconciled before may not be so any more: rules were written in full. */
  readonly forgetConntrack?: () => void;
  /**
   * Deletes stale UDP connection tracking entries; called after rules are written, and runs beside the next syncs. The
   * map is the catalog's own: what is compared after reading the table are the service ports of that moment.
   */
  readonly reconcileConntrack: (
    servicePorts: ReadonlyMap<ServicePortKey, ServicePort>,
    graph: RuleGraph,
    signal: AbortSignal,
  ) => Promise<void>;
}

const maxIntervalMs = 3_600_000;
/** While syncs fail, the changes that have waited longest are measured, and not as many as come. */
const mostTriggers = 10_000;
/** Legacy tools read the whole table for each chain looked at, so an audit gives way to a sync; so many times in a row. */
const mostAuditsStopped = 3;

/**
 * One IP family from objects to the kernel: catalog → graph → backend. Nothing is written before
 * both Services and EndpointSlices were listed completely; the first sync then runs at once. What
 * a failed sync took from the catalog is not lost: the next one is full.
 */
export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #runner: SyncRunner;
  readonly #meter: SyncMeter;
  readonly #notices: Notices;
  readonly #conntrack: ConntrackTurns;
  /** Which Services are in the rules, and why others are not. */
  readonly programming: Programming;
  readonly #createdMs: number;
  #servicesSynced = false;
  #slicesSynced = false;
  /** Rules were written at least once. */
  #written = false;
  /** The last sync wrote its rules; else the next is full. */
  #lastWritten = false;
  #carriedKeys = new Set<ServicePortKey>();
  #carriedTriggersMs: number[] = [];
  #udpPending = false;
  /** The backend left something out, or behind, and will try again. */
  #incomplete = false;
  #lastNode: NodeContext | undefined;
  /** Syncs and audits take turns. */
  readonly #turns = new Turns();
  /** Rung where another period begins. */
  readonly #nextLook = new Wakeup();
  /** Ends the audit that runs, where it gives way to a sync. */
  #audit = new AbortController();

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#createdMs = options.clock.now();
    this.#meter = new SyncMeter(options);
    this.#notices = new Notices(options);
    this.programming = new Programming({ ...options, waiting: () => options.catalog.waiting });
    this.#conntrack = new ConntrackTurns({
      clock: options.clock,
      onDone: () => this.#notices.conntrackReconciled(),
      onFailed: (error) => {
        // The rules are in: stale entries are no reason to write them again.
        this.#udpPending = true;
        this.#meter.conntrackFailed();
        this.#notices.conntrackFailed(error);
      },
    });
    this.#runner = new SyncRunner({
      sync: async (signal) => {
        this.#audit.abort();
        await this.#turns.take(async () => {
          const sync = async (): Promise<void> => this.#sync(signal);
          await (options.record?.during(sync) ?? sync());
        });
      },
      clock: options.clock,
      log: options.log,
      get minIntervalMs() {
        return options.minSyncPeriodMs;
      },
      get retryIntervalMs() {
        return Math.min(options.syncPeriodMs, maxIntervalMs);
      },
      maxIntervalMs,
    });
  }

  /** Feeds Services. */
  readonly services: InformerHandler<ServiceObject> = {
    added: (service) => {
      this.#onService(this.#options.catalog.setService(service));
    },
    updated: (_previous, service) => {
      this.#onService(this.#options.catalog.setService(service));
    },
    removed: (service) => {
      this.#onService(this.#options.catalog.removeService(objectKey(service.meta)));
    },
    synced: () => {
      this.#servicesSynced = true;
      this.request();
    },
  };

  /** Feeds EndpointSlices; the catalog leaves out those of the other family. */
  readonly slices: InformerHandler<EndpointSliceObject> = {
    added: (slice) => {
      this.#onSlice(this.#options.catalog.setSlice(slice));
    },
    updated: (_previous, slice) => {
      this.#onSlice(this.#options.catalog.setSlice(slice));
    },
    removed: (slice) => {
      this.#onSlice(this.#options.catalog.removeSlice(objectKey(slice.meta)));
    },
    synced: () => {
      this.#slicesSynced = true;
      this.request();
    },
  };

  /** This node changed; `zone` is undefined where it has none. */
  nodeChanged(zone: string | undefined): void {
    if (this.#options.catalog.setZone(zone)) this.programming.changed();
    this.request(); // whatever of the node changed, rules may depend on it
  }

  /** Asks for a sync; nothing happens before the first lists are complete. */
  request(): void {
    if (!this.#servicesSynced || !this.#slicesSynced) return;
    this.programming.listed();
    this.#options.health.queued(this.#options.family);
    this.#meter.queued();
    this.#options.record?.requested();
    this.#runner.request();
  }

  /** Periods, or what the node's context is made of, were set anew. */
  settingsChanged(): void {
    this.#nextLook.ring();
    this.request();
  }

  /** Syncs and watches over the rules until `signal` aborts; resolves after the running sync. */
  async run(signal: AbortSignal): Promise<void> {
    this.#options.health.updated(this.#options.family);
    this.#meter.begin();
    await Promise.all([this.#runner.run(signal), this.#monitor(signal)]);
    await this.#conntrack.stop();
  }

  /** Every event counts; only one that changes something is worth a sync. */
  #onService(changes: boolean): void {
    this.#meter.serviceTold(this.#options.catalog.pending, changes);
    if (changes) this.#changed();
  }

  #onSlice(changes: boolean): void {
    this.#meter.sliceTold(this.#options.catalog.pending, changes);
    if (changes) this.#changed();
  }

  #changed(): void {
    this.programming.changed();
    this.request();
  }

  async #sync(signal: AbortSignal): Promise<void> {
    try {
      await this.#syncOnce(signal);
    } catch (error) {
      this.programming.failed(error);
      this.#meter.failed();
      this.#notices.failed(error, this.programming.failingForMs);
      throw error;
    }
  }

  async #syncOnce(signal: AbortSignal): Promise<void> {
    const changes = this.#options.catalog.take();
    this.#carry(changes);
    const { graph, report } = await this.#write(changes, signal);
    const isFirst = !this.#written;
    this.#notices.synced(graph, report, !isFirst, changes.servicePorts);
    await this.#afterwards(changes, graph, report);
    if (isFirst) this.#options.onFirstRules();
    if (report.failure !== undefined) throw report.failure;
  }

  async #write(
    changes: CatalogChanges,
    signal: AbortSignal,
  ): Promise<{ readonly graph: RuleGraph; readonly report: SyncReport }> {
    const { compiler, backend, health, family, clock, record } = this.#options;
    health.started(family);
    const done = this.#meter.start();
    const beginMs = clock.monotonic();
    const node = await this.#options.node(signal);
    let full = !this.#lastWritten;
    try {
      const { graph, delta } = compiler.compile(changes.servicePorts, this.#carriedKeys, node);
      this.#carriedKeys = new Set();
      this.#lastNode = node;
      full ||= delta.everything;
      const report = await backend.sync(graph, delta, signal);
      done(report);
      record?.wrote({ graph, report, changes }, clock.monotonic() - beginMs);
      this.#lastWritten = report.failure === undefined;
      return { graph, report };
    } catch (error) {
      this.#lastWritten = false;
      health.failed(family);
      done(full ? 'full' : 'partial');
      throw error;
    }
  }

  /** What a sync takes from the catalog stands until one has succeeded. */
  #carry(changes: CatalogChanges): void {
    this.#notices.taken(changes);
    this.programming.taken(changes);
    this.#meter.taken(this.#options.catalog.pending);
    for (const key of changes.changed) this.#carriedKeys.add(key);
    // What happened before this process was there says nothing about how fast it is.
    const own = changes.triggerTimesMs.filter((ms) => ms >= this.#createdMs);
    const room = mostTriggers - this.#carriedTriggersMs.length;
    for (const ms of own.slice(0, room)) this.#carriedTriggersMs.push(ms);
    this.#udpPending ||= changes.udpChanged;
  }

  /** Order: latency, gauges, health, health servers, connection tracking. */
  async #afterwards(changes: CatalogChanges, graph: RuleGraph, report: SyncReport): Promise<void> {
    const { health, family, serveHealth, reconcileConntrack } = this.#options;
    this.#written = true;
    this.programming.written(report);
    this.#incomplete = report.unprogrammed.length + (report.stuckAddresses?.length ?? 0) > 0;
    this.#meter.programmed(this.#carriedTriggersMs);
    this.#carriedTriggersMs = [];
    this.#meter.gauges(changes.servicePorts, report);
    if (report.failure === undefined) health.updated(family);
    else health.failed(family);
    await serveHealth(changes.servicePorts, graph);
    // Before a full sync the rules may have been anybody's: of an earlier run, or flushed.
    if (report.full) this.#options.forgetConntrack?.();
    if (!this.#udpPending && !report.full) return;
    this.#udpPending = false;
    const { servicePorts } = changes;
    this.#conntrack.request(async (signal) => reconcileConntrack(servicePorts, graph, signal));
  }

  /** Looks every syncPeriod whether the rules are still ours, and whether the node changed. */
  async #monitor(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted) {
      const isOther = await this.#nextLook.wait(clock, this.#options.syncPeriodMs, signal);
      if (isOther || signal.aborted || !this.#written) continue;
      for (let stopped = 0; !signal.aborted; stopped++) {
        const givesWay = stopped < mostAuditsStopped;
        if (await this.#turns.take(async () => this.#look(signal, givesWay))) break;
      }
      const isDue = this.#incomplete || this.#udpPending;
      if (isDue || (await this.#options.node(signal)) !== this.#lastNode) this.request();
    }
  }

  /** One audit; false where it gave way to a sync. */
  async #look(signal: AbortSignal, givesWay: boolean): Promise<boolean> {
    const { backend } = this.#options;
    const own = new AbortController();
    if (givesWay) this.#audit = own;
    try {
      const reason = await backend.audit(AbortSignal.any([signal, own.signal]));
      if (signal.aborted) return true;
      const inFront = backend.inFront?.() ?? [];
      this.#notices.inFront(inFront);
      if (reason !== undefined || inFront.length > 0) this.#meter.foreign();
      if (reason === undefined) return true;
      this.#notices.foreign(reason);
      backend.invalidate();
      this.request();
    } catch (error) {
      if (own.signal.aborted) return false;
      if (!signal.aborted) this.#notices.auditFailed(error);
    }
    return true;
  }
}
