import type { FlagValues } from './flag-table.ts';
import type { KubeletConfig } from './kubelet-config.ts';
import { KubeletFields } from './kubelet-fields.ts';

/**
 * The kubelet's configuration from its flags and files. All problems are collected: a SwitchyardError of code `usage` lists each with the
 * name of its flag, or with file and field.
 */
export function kubeletConfig(flags: FlagValues): KubeletConfig {
  const fields = new KubeletFields(flags);
  const rootDir = flags.text('rootDir').replace(/(?<=.)\/+$/, '');
  const sources = fields.sources();
  const node = fields.node();
  const config: KubeletConfig = {
    ...sources,
    node,
    eviction: fields.upkeep.eviction(node.evictionHard),
    imageGc: fields.upkeep.imageGc(),
    shutdown: fields.upkeep.shutdown(),
    rootDir,
    certDir: flags.text('certDir') || `${rootDir}/pki`,
    certificates: fields.certificates(),
    syncMs: fields.positive('syncFrequency'),
    runtime: fields.runtime(),
    podLogsDir: flags.text('podLogsDir'),
    volumeStatsMs: flags.number('volumeStatsAggPeriod'),
    server: fields.server(sources.kubeconfig !== ''),
    dns: fields.dns(),
    logFiles: fields.logFiles(),
    eventQps: fields.atLeast('eventRecordQPS', 0),
    eventBurst: fields.atLeast('eventBurst', 0),
    iptablesChains: flags.bool('makeIPTablesUtilChains'),
    oomScoreAdj: fields.within('oomScoreAdj', -1000, 1000),
    adminSocket: flags.given('adminSocket') ? flags.text('adminSocket') : undefined,
    logging: fields.logging(),
  };
  fields.check();
  return config;
}
