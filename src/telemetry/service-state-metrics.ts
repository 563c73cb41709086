import { Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import type { FamilyLabel } from './family-label.ts';

/** So many Services of a family are in this state, for this reason: a word of few. */
export interface ServiceStateRow {
  readonly family: FamilyLabel;
  readonly state: string;
  /** '' where the state needs none. */
  readonly reason: string;
  readonly services: number;
  /** For how long the first of them has been, in seconds; 0 where there is none, or where it does not matter. */
  readonly oldestSeconds: number;
}

/** The state of one Service. */
export interface ServiceStateSeries {
  readonly family: FamilyLabel;
  readonly namespace: string;
  readonly service: string;
  readonly state: string;
  readonly reason: string;
}

/** Where the state of Services is read from, when it is asked for. */
export interface ServiceStates {
  rows(): readonly ServiceStateRow[];
  /** One a Service, for those who asked for it; undefined: nobody did. */
  readonly series?: () => {
    readonly series: readonly ServiceStateSeries[];
    /** By family: Services without a series, since they are too many. */
    readonly leftOut: Readonly<Partial<Record<FamilyLabel, number>>>;
  };
}

const names = [
  'switchyard_services',
  'switchyard_services_oldest_seconds',
  'switchyard_service_state',
  'switchyard_service_state_left_out',
] as const;

/**
 * Adds the metrics of the state of Services: counts by state and reason, and a series a Service where it is asked for. Returns
 * what takes them out again.
 */
export function collectServiceStates(registry: Registry, states: ServiceStates): () => void {
  const byState = ['ip_family', 'state', 'reason'] as const;
  const services = new Gauge({
    name: 'switchyard_services',
    help: 'Services by how far they are in the rules, and why no further',
    labelNames: byState,
    registers: [registry],
    collect() {
      services.reset();
      for (const { family, state, reason, services: count } of states.rows())
        services.set({ ip_family: family, state, reason }, count);
    },
  });
  const oldest = new Gauge({
    name: 'switchyard_services_oldest_seconds',
    help: 'For how long the first of the Services in this state has been in it, in seconds',
    labelNames: byState,
    registers: [registry],
    collect() {
      oldest.reset();
      for (const { family, state, reason, oldestSeconds } of states.rows())
        if (reason !== '') oldest.set({ ip_family: family, state, reason }, oldestSeconds);
    },
  });
  if (states.series !== undefined) collectSeries(registry, states.series);
  return () => {
    for (const name of names) registry.removeSingleMetric(name);
  };
}

function collectSeries(registry: Registry, read: NonNullable<ServiceStates['series']>): void {
  const state = new Gauge({
    name: 'switchyard_service_state',
    help: 'The state of each Service: 1 for the one it is in; only with --metrics-service-states',
    labelNames: ['ip_family', 'namespace', 'service', 'state', 'reason'],
    registers: [registry],
    collect() {
      state.reset();
      for (const { family, ...labels } of read().series)
        state.set({ ip_family: family, ...labels }, 1);
    },
  });
  const leftOut = new Gauge({
    name: 'switchyard_service_state_left_out',
    help: 'Services without a series of their own, since --metrics-service-states allows no more',
    labelNames: ['ip_family'],
    registers: [registry],
    collect() {
      leftOut.reset();
      for (const [family, count] of Object.entries(read().leftOut))
        leftOut.set({ ip_family: family }, count);
    },
  });
}
