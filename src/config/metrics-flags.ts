import type { FlagTable } from './flag-table.ts';

const group = 'Metrics';

/** What is served besides the usual metrics. */
export const metricsFlags: FlagTable = [
  {
    name: 'metrics-service-states',
    besideFile: true,
    type: 'int',
    default: 0,
    placeholder: 'NUMBER',
    help: 'So many Services of a family get a metric of their own for their state, those first that are not as they should be; 0: none.',
    group,
  },
  {
    name: 'profiling',
    type: 'bool',
    default: false,
    configPath: 'enableProfiling',
    help: 'The metrics server also gives profiles of the process, and changes its verbosity: /debug/pprof, /debug/flags/v.',
    group,
  },
];
