import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import type { FamilyLabel } from './family-label.ts';

/** A kind of object that rules are made of. */
export type ObjectKind = 'Service' | 'EndpointSlice';

/** What the agent says of its own work, beyond what kube-proxy says. */
export class AgentMetrics {
  readonly unprogrammed: Gauge<'ip_family'>;
  readonly #objectEvents: Counter<'ip_family' | 'kind' | 'effect'>;
  readonly #syncFailures: Counter<'ip_family'>;
  readonly #changedByOthers: Counter<'ip_family'>;
  readonly #conntrackFailures: Counter<'ip_family'>;
  readonly #healthPorts: Gauge<'ip_family' | 'state'>;
  readonly #events: Counter<'result'>;
  readonly #mode: Gauge<'mode'>;
  #readHealth: () => ReadonlyMap<FamilyLabel, boolean> = () => new Map();

  constructor(registry: Registry) {
    const gauge = <T extends string>(name: string, help: string, labels: T[]): Gauge<T> =>
      new Gauge({ name: `switchyard_${name}`, help, labelNames: labels, registers: [registry] });
    const counter = <T extends string>(name: string, help: string, labels: T[]): Counter<T> =>
      new Counter({ name: `switchyard_${name}`, help, labelNames: labels, registers: [registry] });
    this.unprogrammed = gauge(
      'services_not_programmed',
      'Service ports left out of the rules because the kernel refused them',
      ['ip_family'],
    );
    this.#objectEvents = counter(
      'object_events_total',
      'Changes of objects that were told, by whether anything that rules depend on was changed by them',
      ['ip_family', 'kind', 'effect'],
    );
    this.#syncFailures = counter(
      'sync_failures_total',
      'Syncs that failed, or were not wholly done, and are tried again',
      ['ip_family'],
    );
    this.#changedByOthers = counter(
      'rules_changed_by_others_total',
      'Looks that found rules of ours changed by somebody else',
      ['ip_family'],
    );
    this.#conntrackFailures = counter(
      'conntrack_reconcile_failures_total',
      'Times that stale connection tracking entries could not be removed',
      ['ip_family'],
    );
    this.#healthPorts = gauge(
      'health_check_node_ports',
      'Sockets of healthCheckNodePorts, by whether they listen',
      ['ip_family', 'state'],
    );
    this.#events = counter(
      'kubernetes_events_total',
      'Events on Kubernetes objects, and repeats of one, by what became of them',
      ['result'],
    );
    this.#mode = gauge('proxy_mode', 'The mode that runs: 1', ['mode']);
    const healthy = new Gauge({
      name: 'switchyard_proxy_healthy',
      help: 'Whether the family is healthy as /livez sees it: 1, else 0',
      labelNames: ['ip_family'],
      registers: [registry],
      collect: () => {
        for (const [family, is] of this.#readHealth())
          healthy.set({ ip_family: family }, Number(is));
      },
    });
  }

  /** Makes every series of a family exist, so that dashboards see 0 and not a gap; those that are there stay as they are. */
  openFamily(family: FamilyLabel): void {
    const label = { ip_family: family };
    this.unprogrammed.inc(label, 0);
    this.#syncFailures.inc(label, 0);
    this.#changedByOthers.inc(label, 0);
    this.#conntrackFailures.inc(label, 0);
    for (const state of ['listening', 'failed']) this.#healthPorts.inc({ ...label, state }, 0);
    for (const kind of ['Service', 'EndpointSlice'])
      for (const effect of ['changed', 'none'])
        this.#objectEvents.inc({ ...label, kind, effect }, 0);
  }

  /** An object was told of. */
  objectTold(family: FamilyLabel, kind: ObjectKind, changes: boolean): void {
    this.#objectEvents.inc({ ip_family: family, kind, effect: changes ? 'changed' : 'none' });
  }

  syncFailed(family: FamilyLabel): void {
    this.#syncFailures.inc({ ip_family: family });
  }

  changedByOthers(family: FamilyLabel): void {
    this.#changedByOthers.inc({ ip_family: family });
  }

  conntrackFailed(family: FamilyLabel): void {
    this.#conntrackFailures.inc({ ip_family: family });
  }

  healthPorts(
    family: FamilyLabel,
    { listening, failed }: { readonly listening: number; readonly failed: number },
  ): void {
    this.#healthPorts.set({ ip_family: family, state: 'listening' }, listening);
    this.#healthPorts.set({ ip_family: family, state: 'failed' }, failed);
  }

  /** `read` is asked at each scrape. */
  collectHealth(read: () => ReadonlyMap<FamilyLabel, boolean>): void {
    this.#readHealth = read;
  }

  /** What became of an Event. */
  eventEnded(end: 'written' | 'dropped'): void {
    this.#events.inc({ result: end });
  }

  mode(mode: string): void {
    this.#mode.reset();
    this.#mode.set({ mode }, 1);
  }
}
