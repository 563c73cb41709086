import type {
  LeftOutEndpoint,
  RefusedAddress,
  StuckAddress,
  SyncReport,
  Unprogrammed,
} from '../backends/sync-report.ts';
import type { Clock } from '../clock.ts';
import { SwitchyardError, errorText } from '../error.ts';
import type { Family } from '../ip/address.ts';
import type {
  ServiceName,
  ServicePort,
  ServicePortKey,
  ServicePortName,
} from '../services/service-port.ts';
import type { CatalogChanges } from '../services/service-catalog.ts';

/**
 * How far a Service is in the rules. `partial`: served, but not at each address, or not by each endpoint, or the node still has an
 * address that it has no more. `pending`: as it was before its last change. `failed`: the kernel refused one of its ports.
 */
export type ProgrammingState = 'programmed' | 'partial' | 'pending' | 'failed';

/** Why it is not `programmed`, in a word. */
export type ProgrammingCause =
  | 'first-list' // nothing is written before Services and EndpointSlices were listed
  | 'changed' // a sync is due
  | 'sync-failed' // and will be tried again
  | 'refused'
  | 'address-refused'
  | 'address-stuck' // also of a Service that is gone
  | 'endpoint-left-out';

/** All that there are: each state, and what it can come from. */
export const programmingCauses: Readonly<
  Record<Exclude<ProgrammingState, 'programmed'>, readonly ProgrammingCause[]>
> = {
  partial: ['address-refused', 'address-stuck', 'endpoint-left-out'],
  pending: ['first-list', 'changed', 'sync-failed'],
  failed: ['refused'],
};

/** A Service that is not served as its objects ask. */
export interface UnfinishedService {
  readonly service: ServiceName;
  readonly state: Exclude<ProgrammingState, 'programmed'>;
  readonly cause: ProgrammingCause;
  /** Service ports, addresses or endpoints by name, and the tool's words; for people. */
  readonly reason: string;
  /** Milliseconds since the epoch. */
  readonly sinceMs: number;
}

/** The present state of one family. */
export interface ProgrammingReport {
  readonly family: Family;
  /** Services whose rules are in as their objects ask. */
  readonly programmed: number;
  /** One entry a Service, the worst first, then by name. */
  readonly unfinished: readonly UnfinishedService[];
  /** Services without a port in this family, and why: a live view. */
  readonly skipped: ReadonlyMap<ServiceName, string>;
  /** When rules were written last, milliseconds since the epoch. */
  readonly writtenAtMs: number | undefined;
  /** Why the last sync failed, and since when they do; undefined where it did not. */
  readonly failure: ProgrammingFailure | undefined;
}

export interface ProgrammingFailure {
  readonly reason: string;
  readonly hint: string | undefined;
  readonly sinceMs: number;
}

export interface ProgrammingOptions {
  readonly family: Family;
  readonly clock: Clock;
  /** Services with changes that no sync has taken. */
  readonly waiting: () => Iterable<ServiceName>;
}

type Trouble = Omit<UnfinishedService, 'sinceMs'> & { readonly key: string };

const byBadness: readonly ProgrammingState[] = ['programmed', 'partial', 'pending', 'failed'];

/**
 * Follows one family's syncs, and says of each Service whether it is in the rules, and if not, why and since when. Inside,
 * times are those that nobody sets back.
 */
export class Programming {
  readonly #options: ProgrammingOptions;
  /** The oldest change that no sync has taken: what waits, waits at most as long. */
  #waitingSinceMs: number | undefined;
  /** Taken from the catalog, and not in the rules yet. */
  readonly #taken = new Map<ServiceName, number>();
  #troubles = new Map<string, UnfinishedService>();
  #servicePorts: Iterable<ServicePort> = [];
  #skipped: ReadonlyMap<ServiceName, string> = new Map();
  #isListed = false;
  #writtenAtMs: number | undefined;
  #failure: ProgrammingFailure | undefined;

  constructor(options: ProgrammingOptions) {
    this.#options = options;
  }

  /** A Service, or endpoints of one, changed. */
  changed(): void {
    this.#waitingSinceMs ??= this.#options.clock.monotonic();
  }

  /** What rules are made of is known completely. */
  listed(): void {
    this.#isListed = true;
  }

  /** A sync took these changes. */
  taken({ changed, servicePorts, skipped }: CatalogChanges): void {
    const sinceMs = this.#waitingSinceMs ?? this.#options.clock.monotonic();
    for (const key of changed) {
      const service = serviceOf(key);
      if (!this.#taken.has(service)) this.#taken.set(service, sinceMs);
    }
    this.#waitingSinceMs = undefined;
    this.#servicePorts = { [Symbol.iterator]: () => servicePorts.values() };
    this.#skipped = skipped;
  }

  /** What was taken is in the rules now, but for what the report names. */
  written(report: SyncReport): void {
    const { clock } = this.#options;
    this.#taken.clear();
    this.#failure = undefined;
    this.#writtenAtMs = clock.now();
    const before = this.#troubles;
    const nowMs = clock.monotonic();
    this.#troubles = new Map();
    for (const { key, ...trouble } of troublesOf(report)) {
      if (this.#troubles.has(key)) continue;
      this.#troubles.set(key, { ...trouble, sinceMs: before.get(key)?.sinceMs ?? nowMs });
    }
  }

  /** A sync ended without having done all; it is tried again. */
  failed(error: unknown): void {
    this.#failure = {
      reason: errorText(error),
      hint: error instanceof SwitchyardError ? error.hint : undefined,
      sinceMs: this.#failure?.sinceMs ?? this.#options.clock.monotonic(),
    };
  }

  /** For how long syncs have failed; 0 where the last one did not. */
  get failingForMs(): number {
    if (this.#failure === undefined) return 0;
    return this.#options.clock.monotonic() - this.#failure.sinceMs;
  }

  report(): ProgrammingReport {
    const unfinished = this.#unfinished();
    let programmed = 0;
    for (const service of new Set(servicesOf(this.#servicePorts)))
      if (!unfinished.has(service)) programmed++;
    return {
      family: this.#options.family,
      programmed,
      unfinished: unfinished
        .values()
        .toArray()
        .toSorted((a, b) => badness(b) - badness(a) || (a.service < b.service ? -1 : 1)),
      skipped: this.#skipped,
      writtenAtMs: this.#writtenAtMs,
      failure: this.#failure && {
        ...this.#failure,
        sinceMs: this.#date(this.#failure.sinceMs),
      },
    };
  }

  /** Names of the Services that have ports here, whatever their state: once each. */
  services(): ReadonlySet<ServiceName> {
    return new Set(servicesOf(this.#servicePorts));
  }

  #unfinished(): ReadonlyMap<ServiceName, UnfinishedService> {
    const found = new Map<ServiceName, UnfinishedService>();
    for (const trouble of this.#troubles.values()) this.#add(found, trouble);
    for (const [service, sinceMs] of this.#taken) this.#addPending(found, service, sinceMs);
    const waitingSinceMs = this.#waitingSinceMs ?? this.#options.clock.monotonic();
    for (const service of this.#options.waiting())
      this.#addPending(found, service, this.#taken.get(service) ?? waitingSinceMs);
    return found;
  }

  #addPending(
    found: Map<ServiceName, UnfinishedService>,
    service: ServiceName,
    sinceMs: number,
  ): void {
    if (found.get(service)?.state === 'pending') return;
    const { cause, reason } = this.#whyPending();
    this.#add(found, { service, state: 'pending', cause, reason, sinceMs });
  }

  #whyPending(): Pick<UnfinishedService, 'cause' | 'reason'> {
    if (!this.#isListed) {
      const reason = 'Services and EndpointSlices are not listed completely yet';
      return { cause: 'first-list', reason };
    }
    if (this.#failure !== undefined)
      return { cause: 'sync-failed', reason: `the last sync failed: ${this.#failure.reason}` };
    return { cause: 'changed', reason: 'changed, and not in the rules yet' };
  }

  /** One entry a Service: the worst, with the reasons of all that are as bad. */
  #add(found: Map<ServiceName, UnfinishedService>, added: UnfinishedService): void {
    const known = found.get(added.service);
    const sinceMs = this.#date(added.sinceMs);
    if (known === undefined || badness(added) > badness(known)) {
      found.set(added.service, { ...added, sinceMs });
    } else if (known.state === added.state) {
      const reason = `${known.reason}; ${added.reason}`;
      found.set(added.service, { ...known, reason, sinceMs: Math.min(known.sinceMs, sinceMs) });
    }
  }

  #date(monotonicMs: number): number {
    const { clock } = this.#options;
    return clock.now() - (clock.monotonic() - monotonicMs);
  }
}

function badness({ state }: Pick<UnfinishedService, 'state'>): number {
  return byBadness.indexOf(state);
}

function* servicesOf(servicePorts: Iterable<ServicePort>): Generator<ServiceName> {
  for (const { service } of servicePorts) yield service;
}

function troublesOf(report: SyncReport): readonly Trouble[] {
  return [
    ...report.unprogrammed.map(refused),
    ...(report.refusedAddresses ?? []).map(refusedAddress),
    ...(report.stuckAddresses ?? []).flatMap(stuckAddress),
    ...(report.leftOutEndpoints ?? []).map(leftOutEndpoint),
  ];
}

function refused({ name, reason }: Unprogrammed): Trouble {
  return {
    key: `refused ${name}`,
    service: serviceOf(name),
    state: 'failed',
    cause: 'refused',
    reason: `${name}: ${reason}`,
  };
}

function refusedAddress({ address, origin, reason }: RefusedAddress): Trouble {
  return {
    key: `address ${origin.service} ${address}`,
    service: origin.service,
    state: 'partial',
    cause: 'address-refused',
    reason: `not served at ${address}: ${reason}`,
  };
}

function stuckAddress({ address, origin, reason }: StuckAddress): readonly Trouble[] {
  if (origin === undefined) return [];
  const key = `stuck ${address}`;
  return [{ key, service: origin.service, state: 'partial', cause: 'address-stuck', reason }];
}

function leftOutEndpoint({ name, endpoint, reason }: LeftOutEndpoint): Trouble {
  return {
    key: `endpoint ${name} ${endpoint}`,
    service: serviceOf(name),
    state: 'partial',
    cause: 'endpoint-left-out',
    reason: `${name}: nobody is led to the endpoint ${endpoint}: ${reason}`,
  };
}

/** `ns/name` of `ns/name:port`, `ns/name/TCP` and `ns/name:port/TCP`. */
function serviceOf(port: ServicePortName | ServicePortKey): ServiceName {
  const [namespace = '', name = ''] = port.split(/[/:]/);
  return `${namespace}/${name}` as ServiceName;
}
