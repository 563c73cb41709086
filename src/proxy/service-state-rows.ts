import { familyLabel } from '../ip/address.ts';
import type {
  ServiceStateRow,
  ServiceStates,
  ServiceStateSeries,
} from '../telemetry/service-state-metrics.ts';
import { programmingCauses } from './programming-state.ts';
import type { Programming, ProgrammingReport } from './programming-state.ts';

/** One family, and what is followed of it. */
interface Followed {
  readonly programming: Pick<Programming, 'report' | 'services'>;
}

/**
 * The state of Services for metrics. A report is made at most once for all metrics of one answer. `most`: so many Services of
 * a family have a series of their own, those first that are not as they should be; 0: none has.
 */
export function serviceStates(
  families: readonly Followed[],
  most: number,
  nowMs: () => number,
): ServiceStates {
  const reports = oncePerAnswer(() => families.map(({ programming }) => programming.report()));
  const rows = oncePerAnswer(() => reports().flatMap((report) => rowsOf(report, nowMs())));
  if (most === 0) return { rows };
  const series = oncePerAnswer(() => {
    const all = families.map(({ programming }, i) => {
      const report = reports()[i];
      return report === undefined ? [] : seriesOf(report, programming.services());
    });
    return {
      series: all.flatMap((each) => each.slice(0, most)),
      leftOut: Object.fromEntries(
        reports().map(({ family }, i) => [
          familyLabel(family),
          Math.max(0, (all[i]?.length ?? 0) - most),
        ]),
      ),
    };
  });
  return { rows, series };
}

/** Every pair of state and cause has a row, so that dashboards see 0 and not a gap. */
function rowsOf(report: ProgrammingReport, nowMs: number): readonly ServiceStateRow[] {
  const family = familyLabel(report.family);
  const row = (state: string, services: number): ServiceStateRow => {
    return { family, state, reason: '', services, oldestSeconds: 0 };
  };
  const unfinished = Object.entries(programmingCauses).flatMap(([state, causes]) =>
    causes.map((cause): ServiceStateRow => {
      const found = report.unfinished.filter(
        (each) => each.state === state && each.cause === cause,
      );
      const sinceMs = found.reduce((oldest, each) => Math.min(oldest, each.sinceMs), nowMs);
      const oldestSeconds = (nowMs - sinceMs) / 1000;
      return { family, state, reason: cause, services: found.length, oldestSeconds };
    }),
  );
  return [
    row('programmed', report.programmed),
    ...unfinished,
    row('not-applicable', report.skipped.size),
  ];
}

function seriesOf(
  report: ProgrammingReport,
  services: ReadonlySet<string>,
): readonly ServiceStateSeries[] {
  const family = familyLabel(report.family);
  const named = (name: string, state: string, reason: string): ServiceStateSeries => {
    const [namespace = '', service = ''] = name.split('/');
    return { family, namespace, service, state, reason };
  };
  const unfinished = new Set<string>(report.unfinished.map(({ service }) => service));
  return [
    ...report.unfinished.map(({ service, state, cause }) => named(service, state, cause)),
    ...[...services]
      .filter((name) => !unfinished.has(name))
      .toSorted()
      .map((name) => named(name, 'programmed', '')),
  ];
}

/** Made when it is asked for first, and kept for what asks in the same breath. */
function oncePerAnswer<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    if (made === undefined) {
      made = { value: make() };
      setImmediate(() => {
        made = undefined;
      });
    }
    return made.value;
  };
}
