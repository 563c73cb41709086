import type { FlagValues } from './flag-table.ts';
import type { ProxyConfig } from './proxy-config.ts';
import { ProxyFields } from './proxy-fields.ts';

/**
 * The proxy's configuration from its flags. All problems are collected: a SwitchyardError of code
 * `usage` lists each with the name of its flag, or with file and field.
 * `warn` is told what has no effect.
 */
export function proxyConfig(flags: FlagValues, warn?: (text: string) => void): ProxyConfig {
  const fields = new ProxyFields(flags, warn);
  const mode = fields.mode();
  const config: ProxyConfig = {
    mode,
    source: fields.source(),
    hostnameOverride: fields.hostnameOverride(),
    bindAddress: fields.bindAddress(),
    bindAddressHardFail: flags.bool('bindAddressHardFail'),
    ...fields.binds(),
    adminSocket: flags.given('adminSocket') ? flags.text('adminSocket') : undefined,
    ...fields.syncPeriods(mode),
    masqueradeAll: flags.bool('masqueradeAll'),
    masqueradeBit: fields.intWithin('iptablesMasqueradeBit', 0, 31),
    localhostNodePorts: mode !== 'ipvs' && flags.bool('iptablesLocalhostNodeports'),
    detectLocal: fields.detectLocal(),
    clusterCidrs: fields.clusterCidrs(),
    nodePortAddresses: fields.nodePortAddresses(),
    oomScoreAdj: fields.intWithin('oomScoreAdj', -1000, 1000),
    conntrack: fields.conntrack(),
    ipvs: fields.ipvs(mode),
    userspace: fields.userspace(mode),
    traffic: fields.traffic(),
    logging: fields.logging(),
    metrics: { serviceStates: fields.intWithin('metricsServiceStates', 0, 100_000) },
    profiling: flags.bool('profiling'),
    initOnly: flags.bool('initOnly'),
  };
  fields.compatible();
  fields.check();
  return config;
}
