import { fieldOf } from './flag-table.ts';
import type { FlagValues } from './flag-table.ts';
import type { FieldReport } from './ipvs-fields.ts';
import type { TrafficConfig } from './proxy-config.ts';
import { trafficFlags } from './traffic-flags.ts';

const mostSeries = 100_000;
const leastIntervalMs = 1000;

/** Whether and how the traffic of service ports is counted. */
export function readTraffic(flags: FlagValues, report: FieldReport): TrafficConfig {
  const what = flags.text('serviceTraffic');
  const intervalMs = flags.number('serviceTrafficInterval');
  if (intervalMs < leastIntervalMs) {
    report.problem('serviceTrafficInterval', 'must be at least 1s', 'the default is 10s');
  }
  const series = flags.number('serviceTrafficLimit');
  if (series < 0 || series > mostSeries) {
    const hint = 'give a whole number within these';
    report.problem('serviceTrafficLimit', `${series} is not 0 to ${mostSeries}`, hint);
  }
  const isAsked = what === 'connections' || what === 'bytes';
  if (!isAsked) warnOfUnused(flags, report);
  return {
    what: isAsked ? what : 'none',
    intervalMs,
    series,
    namespaces: flags.list('serviceTrafficNamespaces').filter((each) => each !== ''),
  };
}

function warnOfUnused(flags: FlagValues, report: FieldReport): void {
  for (const field of trafficFlags.map(fieldOf)) {
    if (field === 'serviceTraffic' || !flags.given(field)) continue;
    report.warn(`${flags.shown(field)} has no effect without --service-traffic`);
  }
}
