import type { FlagSpec, FlagTable } from './flag-table.ts';

/** A flag of kube-proxy that means nothing here, and why: that is said where it is given another value than its default. */
function compatible(spec: Omit<FlagSpec, 'help' | 'noEffect'>, noEffect: string): FlagSpec {
  return { ...spec, noEffect, help: noEffect };
}

const atOnce = 'every line is written at once';
const noRateLimit = 'a few watches need no rate limit';

const logOptions: FlagTable = (['json', 'text'] as const).flatMap((format) => [
  compatible(
    {
      name: `log-${format}-info-buffer-size`,
      type: 'quantity',
      default: '0',
      configPath: `logging.options.${format}.infoBufferSize`,
      besideFile: true,
    },
    atOnce,
  ),
  compatible(
    {
      name: `log-${format}-split-stream`,
      type: 'bool',
      default: false,
      configPath: `logging.options.${format}.splitStream`,
      besideFile: true,
    },
    'all lines go to the standard error',
  ),
]);

/** kube-proxy's flags that mean nothing here: each says so when it is given. */
export const compatibleFlags: FlagTable = [
  {
    name: 'feature-gates',
    type: 'list',
    item: 'gate',
    placeholder: 'NAME=BOOLEAN,…',
    configPath: 'featureGates',
    help: 'Feature gates of Kubernetes. Known ones are taken, with a warning where they change nothing; unknown ones are refused.',
    group: 'Compatibility',
  },
  compatible(
    {
      name: 'show-hidden-metrics-for-version',
      type: 'string',
      default: '',
      configPath: 'showHiddenMetricsForVersion',
    },
    'no metric is hidden',
  ),
  compatible(
    {
      name: 'config-sync-period',
      type: 'duration',
      default: 900_000,
      configPath: 'configSyncPeriod',
      zeroIsUnset: true,
    },
    'unchanged objects are never delivered again, so there is no resync',
  ),
  compatible(
    {
      name: 'kube-api-content-type',
      type: 'string',
      default: 'application/vnd.kubernetes.protobuf',
      configPath: 'clientConnection.contentType',
    },
    'lists are asked for in Protocol Buffers, watches in JSON',
  ),
  compatible(
    {
      name: 'kube-api-burst',
      type: 'int',
      default: 10,
      configPath: 'clientConnection.burst',
      zeroIsUnset: true,
    },
    noRateLimit,
  ),
  compatible(
    {
      name: 'kube-api-qps',
      type: 'float',
      default: 5,
      configPath: 'clientConnection.qps',
      zeroIsUnset: true,
    },
    noRateLimit,
  ),
  compatible(
    {
      name: 'vmodule',
      type: 'list',
      item: 'module',
      configPath: 'logging.vmodule',
      besideFile: true,
    },
    'verbosity is set for the whole program with -v',
  ),
  compatible(
    {
      name: 'log-flush-frequency',
      type: 'duration',
      default: 5000,
      configPath: 'logging.flushFrequency',
      zeroIsUnset: true,
      nanoseconds: true,
      besideFile: true,
    },
    atOnce,
  ),
  ...logOptions,
];
