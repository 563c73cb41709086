import { readGates } from './feature-gates.ts';
import type { FlagValues } from './flag-table.ts';
import type { FieldReport } from './ipvs-fields.ts';

/** Checks settings of kube-proxy that have no effect here, by kube-proxy's rules. */
export function readCompatible(flags: FlagValues, report: FieldReport): void {
  if (flags.number('configSyncPeriod') <= 0) {
    report.problem('configSyncPeriod', 'must be above 0', 'the default is 15m');
  }
  if (flags.number('kubeApiBurst') < 0) {
    report.problem('kubeApiBurst', 'must not be negative', 'the default is 10');
  }
  const version = flags.text('showHiddenMetricsForVersion');
  if (!/^(?:\d+\.\d+)?$/.test(version)) {
    const text = `${JSON.stringify(version)} is not a version of Kubernetes such as 1.36`;
    report.problem('showHiddenMetricsForVersion', text, 'leave it out: no metric is hidden');
  }
  readGates(flags, report);
}
