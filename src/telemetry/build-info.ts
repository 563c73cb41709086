import { Gauge } from 'prom-client';
import type { Registry } from 'prom-client';

/** Node's name of a processor, as Go has it. */
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386' };

const labelNames = [
  'build_date',
  'compiler',
  'git_commit',
  'git_tree_state',
  'git_version',
  'go_version',
  'major',
  'minor',
  'platform',
];

/** Adds `kubernetes_build_info` with the labels that all components of Kubernetes have; what we do not know is empty. */
export function addBuildInfo(registry: Registry, version: string): void {
  const info = new Gauge({
    name: 'kubernetes_build_info',
    help: 'The version that runs: 1',
    labelNames,
    registers: [registry],
  });
  const [major = '', minor = ''] = version.split('.');
  const { arch, version: nodeVersion } = process;
  info.set(
    {
      build_date: '',
      compiler: `node ${nodeVersion}`,
      git_commit: '',
      git_tree_state: '',
      git_version: version,
      go_version: '',
      major,
      minor,
      platform: `linux/${architectures[arch] ?? arch}`,
    },
    1,
  );
}

/** A feature gate, as `kubernetes_feature_enabled` has it. */
export interface FeatureState {
  readonly name: string;
  /** `ALPHA`, `BETA`, `DEPRECATED`, or '' for one that is for everybody. */
  readonly stage: string;
  readonly enabled: boolean;
}

export const featuresMetric = 'kubernetes_feature_enabled';

/** Adds the metric: a series a gate. */
export function addFeatures(registry: Registry, features: readonly FeatureState[]): void {
  const gauge = new Gauge({
    name: featuresMetric,
    help: 'Whether a feature gate is on: 1, else 0',
    labelNames: ['name', 'stage'],
    registers: [registry],
  });
  for (const { name, stage, enabled } of features) gauge.set({ name, stage }, Number(enabled));
}
