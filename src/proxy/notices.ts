import type {
  LeftOutEndpoint,
  RefusedAddress,
  StuckAddress,
  SyncReport,
} from '../backends/sync-report.ts';
import { errorText } from '../error.ts';
import { conflictText } from '../graph/claims.ts';
import type { Conflict, RuleGraph } from '../graph/rule-graph.ts';
import type { Family } from '../ip/address.ts';
import type { CatalogChanges } from '../services/service-catalog.ts';
import type { Log } from '../telemetry/log.ts';
import { stuckAdvice } from './node-events.ts';
import type { NodeEvents } from './node-events.ts';
import type { ServiceEvents, ServicePorts } from './service-events.ts';

/** What fails for less may pass by itself: a lock that somebody holds, a tool that was killed. */
const lastingMs = 30_000;

/** What an operator was told of one family, and not yet that it is over. An agent that takes over goes on from there. */
export class Told {
  conflicts: ReadonlySet<string> = new Set();
  conntrackFailure: string | undefined;
  unprogrammed: ReadonlyMap<string, string> = new Map();
  /** By Service and address. */
  refused: ReadonlyMap<string, string> = new Map();
  /** By address. */
  stuck: ReadonlyMap<string, string> = new Map();
  leftOut: ReadonlySet<string> = new Set();
  failure = false;
  inFront = '';
}

export interface NoticesOptions {
  readonly log: Log;
  readonly family: Family;
  readonly events?: ServiceEvents | undefined;
  readonly nodeEvents?: NodeEvents | undefined;
  readonly told?: Told | undefined;
}

/** Says what an operator should know of one family's syncs: each thing once, and again when it is over. */
export class Notices {
  readonly #log: Log;
  readonly #family: Family;
  readonly #events: ServiceEvents | undefined;
  readonly #nodeEvents: NodeEvents | undefined;
  readonly #told: Told;

  /** What concerns one object is an Event on it too, where there are any. */
  constructor({ log, family, events, nodeEvents, told = new Told() }: NoticesOptions) {
    this.#log = log;
    this.#family = family;
    this.#events = events;
    this.#nodeEvents = nodeEvents;
    this.#told = told;
  }

  /** Syncs have failed for so long. Who runs them logs each failure; an Event is for what lasts. */
  failed(error: unknown, forMs: number): void {
    if (forMs < lastingMs || this.#told.failure) return;
    this.#told.failure = true;
    this.#nodeEvents?.syncFails(this.#family, errorText(error), forMs);
  }

  /** A sync succeeded; `before`: so did one before. */
  synced(
    graph: RuleGraph,
    report: SyncReport,
    before: boolean,
    servicePorts: ServicePorts = new Map(),
  ): void {
    const fields = {
      family: this.#family,
      full: report.full,
      frontends: graph.frontends.size,
      rulesWritten: report.rulesWritten,
    };
    if (before) this.#log.debug(fields, 'rules written');
    else this.#log.info(fields, 'first rules written');
    if (report.failure === undefined) this.#told.failure = false;
    this.#tellConflicts(graph.conflicts);
    this.#tellUnprogrammed(report, servicePorts);
    this.#tellRefused(report.refusedAddresses ?? [], servicePorts);
    this.#tellStuck(report.stuckAddresses ?? [], servicePorts);
    this.#tellLeftOut(report.leftOutEndpoints ?? []);
  }

  /** A sync took these changes from the catalog. */
  taken({ problems, changedServices, skipped }: CatalogChanges): void {
    for (const problem of problems) {
      this.#log.warn({ family: this.#family, ...problem }, 'object not used as it stands');
    }
    for (const service of changedServices) {
      const reason = skipped.get(service);
      if (reason === undefined) continue;
      this.#log.debug({ family: this.#family, service, reason }, 'Service without rules here');
    }
  }

  foreign(reason: string): void {
    this.#log.warn({ family: this.#family, reason }, 'rules were changed by others; full sync');
  }

  /** Rules of others that leave nothing for ours; an audit has found them. */
  inFront(rules: readonly string[]): void {
    const text = rules.join(', ');
    if (text === this.#told.inFront) return;
    this.#told.inFront = text;
    if (rules.length === 0) {
      this.#log.info({ family: this.#family }, 'no rule of others stands before ours any more');
      return;
    }
    this.#log.warn(
      { family: this.#family, rules },
      `a second writer: ${text} stands before our rules and takes what they are for; delete it, or put it behind them`,
    );
  }

  auditFailed(error: unknown): void {
    this.#log.warn(
      { family: this.#family, err: error },
      `cannot check the rules: ${errorText(error)}`,
    );
  }

  conntrackFailed(error: unknown): void {
    const reason = errorText(error);
    if (reason === this.#told.conntrackFailure) return;
    this.#told.conntrackFailure = reason;
    this.#log.warn(
      { family: this.#family, err: error },
      `cannot remove stale connection tracking entries, tried again each sync period: ${reason}`,
    );
  }

  conntrackReconciled(): void {
    if (this.#told.conntrackFailure === undefined) return;
    this.#told.conntrackFailure = undefined;
    this.#log.info({ family: this.#family }, 'stale connection tracking entries are removed again');
  }

  #tellConflicts(conflicts: readonly Conflict[]): void {
    const now = new Set<string>();
    for (const conflict of conflicts) {
      const text = conflictText(conflict);
      now.add(text);
      const { claimed } = conflict;
      if (!this.#told.conflicts.has(text)) this.#log.warn({ family: this.#family, claimed }, text);
    }
    for (const text of this.#told.conflicts) {
      if (!now.has(text)) this.#log.info({ family: this.#family }, `no longer: ${text}`);
    }
    this.#told.conflicts = now;
  }

  #tellUnprogrammed({ unprogrammed }: SyncReport, servicePorts: ServicePorts): void {
    const now = new Map<string, string>();
    for (const { name, reason } of unprogrammed) {
      now.set(name, reason);
      if (this.#told.unprogrammed.get(name) === reason) continue;
      this.#events?.notProgrammed({ name, reason }, servicePorts);
      this.#log.error(
        { family: this.#family, servicePort: name, reason },
        `${name} is not programmed`,
      );
    }
    for (const name of this.#told.unprogrammed.keys()) {
      if (!now.has(name)) this.#log.info({ family: this.#family }, `${name} is programmed now`);
    }
    this.#told.unprogrammed = now;
  }

  #tellRefused(addresses: readonly RefusedAddress[], servicePorts: ServicePorts): void {
    const now = new Map<string, string>();
    for (const refused of addresses) {
      const { address, origin, reason } = refused;
      const what = `${origin.service} is not served at ${address}`;
      const isTold = now.has(what) || this.#told.refused.get(what) === reason;
      now.set(what, reason);
      if (isTold) continue;
      this.#events?.addressRefused(refused, servicePorts);
      this.#log.warn(
        { family: this.#family, service: origin.service, address },
        `${what}: ${reason}`,
      );
    }
    for (const what of this.#told.refused.keys())
      if (!now.has(what)) this.#log.info({ family: this.#family }, `no longer: ${what}`);
    this.#told.refused = now;
  }

  #tellStuck(addresses: readonly StuckAddress[], servicePorts: ServicePorts): void {
    const now = new Map<string, string>();
    for (const stuck of addresses) {
      const { address, origin, reason } = stuck;
      now.set(address, reason);
      if (this.#told.stuck.get(address) === reason) continue;
      const isThere = origin !== undefined && servicePorts.has(origin.servicePort);
      if (isThere) this.#events?.addressStuck(stuck, servicePorts);
      else this.#nodeEvents?.addressStuck(reason);
      const fields = { family: this.#family, service: origin?.service, address };
      this.#log.error(fields, `${reason}; ${stuckAdvice}`);
    }
    for (const address of this.#told.stuck.keys())
      if (!now.has(address)) this.#log.info({ family: this.#family }, `${address} is gone now`);
    this.#told.stuck = now;
  }

  #tellLeftOut(endpoints: readonly LeftOutEndpoint[]): void {
    const now = new Set<string>();
    for (const { name, endpoint, reason } of endpoints) {
      const text = `${name}: nobody is led to the endpoint ${endpoint}: ${reason}`;
      now.add(text);
      if (!this.#told.leftOut.has(text))
        this.#log.warn({ family: this.#family, servicePort: name, endpoint }, text);
    }
    for (const text of this.#told.leftOut)
      if (!now.has(text)) this.#log.info({ family: this.#family }, `no longer: ${text}`);
    this.#told.leftOut = now;
  }
}
