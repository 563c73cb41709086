import type { FlagSpec, FlagTable } from './flag-table.ts';
import { ipvsFlags } from './ipvs-flags.ts';
import { metricsFlags } from './metrics-flags.ts';
import { userspaceFlags } from './userspace-flags.ts';

/** Where objects come from; also used by commands that read manifests. */
const sourceFlags: FlagTable = [
  {
    name: 'source',
    type: 'list',
    whole: true,
    placeholder: 'SOURCE',
    help: 'Where objects come from: kubernetes, file:PATH (a file or directory, repeatable), or an http(s) URL. Default: kubernetes.',
    group: 'Objects',
  },
  {
    name: 'kubeconfig',
    type: 'string',
    placeholder: 'FILE',
    configPath: 'clientConnection.kubeconfig',
    help: 'Kubeconfig with the API server and credentials. Empty, and no --master: the in-cluster configuration.',
    group: 'Objects',
  },
  {
    name: 'master',
    type: 'string',
    placeholder: 'URL',
    help: "Address of the API server; overrides the kubeconfig's.",
    group: 'Objects',
  },
  {
    name: 'hostname-override',
    type: 'string',
    placeholder: 'NAME',
    configPath: 'hostnameOverride',
    help: "Name of this node; default: the machine's host name in lower case.",
    group: 'Objects',
  },
];

const serviceFlags: FlagTable = [
  {
    name: 'proxy-mode',
    type: 'string',
    aliases: ['mode'],
    field: 'mode',
    placeholder: 'MODE',
    configPath: 'mode',
    help: 'How Services are made to work: iptables (also the default), ipvs or userspace. Same as --mode.',
  },
  {
    name: 'iptables-sync-period',
    type: 'duration',
    default: 30_000,
    configPath: 'iptables.syncPeriod',
    help: 'How soon a failed sync is retried and rules broken by others are noticed. Above 0.',
    group: 'iptables',
  },
  {
    name: 'iptables-min-sync-period',
    type: 'duration',
    default: 1000,
    configPath: 'iptables.minSyncPeriod',
    help: 'Least time from the end of a sync to the start of the next.',
    group: 'iptables',
  },
  {
    name: 'iptables-masquerade-bit',
    type: 'int',
    default: 14,
    configPath: 'iptables.masqueradeBit',
    help: 'Bit of the packet mark that asks for masquerading, 0 to 31; in ipvs mode too.',
    group: 'iptables',
  },
  {
    name: 'masquerade-all',
    type: 'bool',
    default: false,
    configPath: 'iptables.masqueradeAll',
    help: 'Masquerade all traffic to cluster IPs; in ipvs mode too.',
    group: 'iptables',
  },
  {
    name: 'iptables-localhost-nodeports',
    type: 'bool',
    default: true,
    configPath: 'iptables.localhostNodePorts',
    help: 'Node ports answer on 127.0.0.1 too (IPv4).',
    group: 'iptables',
  },
  {
    name: 'nodeport-addresses',
    type: 'list',
    placeholder: 'CIDR',
    configPath: 'nodePortAddresses',
    help: 'Node ports answer on local addresses inside these CIDRs only; `primary`: on the node IPs. Default: all.',
    group: 'Node',
  },
  {
    name: 'detect-local-mode',
    type: 'enum',
    values: ['', 'ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'],
    default: '',
    configPath: 'detectLocalMode',
    help: "How traffic of this node's pods is recognised. Default: ClusterCIDR.",
    group: 'Node',
  },
  {
    name: 'cluster-cidr',
    type: 'string',
    field: 'clusterCidr',
    placeholder: 'CIDR',
    configPath: 'clusterCIDR',
    help: "The pods' addresses: one CIDR, or one of each family separated by a comma.",
    group: 'Node',
  },
  {
    name: 'pod-bridge-interface',
    type: 'string',
    placeholder: 'NAME',
    configPath: 'detectLocal.bridgeInterface',
    help: 'With BridgeInterface: the bridge pods are behind.',
    group: 'Node',
  },
  {
    name: 'pod-interface-name-prefix',
    type: 'string',
    placeholder: 'PREFIX',
    configPath: 'detectLocal.interfaceNamePrefix',
    help: "With InterfaceNamePrefix: how pods' interfaces are called.",
    group: 'Node',
  },
];

/** Also of `cleanup`, which puts back what is recorded there. */
export const stateFileFlag: FlagSpec = {
  name: 'state-file',
  type: 'string',
  default: '/run/switchyard/node.json',
  placeholder: 'FILE',
  help: 'Where it is recorded what was changed besides rules (sysctls, KUBE-FIREWALL), for the clean-up; empty: nowhere.',
  group: 'Node',
};

const processFlags: FlagTable = [
  {
    name: 'bind-address',
    type: 'string',
    default: '0.0.0.0',
    placeholder: 'IP',
    configPath: 'bindAddress',
    help: "A specific address overrides the node's IP; its family is the primary one.",
    group: 'Node',
  },
  {
    name: 'bind-address-hard-fail',
    type: 'bool',
    default: false,
    configPath: 'bindAddressHardFail',
    help: 'Exit when the health or metrics port is taken, instead of trying again.',
    group: 'Servers',
  },
  {
    name: 'healthz-bind-address',
    type: 'string',
    default: '0.0.0.0:10256',
    placeholder: 'IP:PORT',
    configPath: 'healthzBindAddress',
    help: 'Where /healthz and /livez answer; empty: nowhere.',
    group: 'Servers',
  },
  {
    name: 'metrics-bind-address',
    type: 'string',
    default: '127.0.0.1:10249',
    placeholder: 'IP:PORT',
    configPath: 'metricsBindAddress',
    help: 'Where /metrics and /proxyMode answer; empty: nowhere.',
    group: 'Servers',
  },
  {
    name: 'healthz-port',
    type: 'int',
    default: 10256,
    help: 'Port of --healthz-bind-address, 0 disables.',
    deprecated: 'use --healthz-bind-address',
  },
  {
    name: 'metrics-port',
    type: 'int',
    default: 10249,
    help: 'Port of --metrics-bind-address, 0 disables.',
    deprecated: 'use --metrics-bind-address',
  },
  {
    name: 'oom-score-adj',
    type: 'int',
    default: -999,
    configPath: 'oomScoreAdj',
    help: "This process's oom_score_adj, -1000 to 1000.",
    group: 'Node',
  },
  {
    name: 'init-only',
    type: 'bool',
    default: false,
    help: 'Do what needs privileges at start (sysctls), then exit.',
  },
  {
    name: 'cleanup',
    type: 'bool',
    default: false,
    help: 'Remove all rules and exit: the same as switchyard cleanup.',
  },
  stateFileFlag,
  {
    name: 'config',
    type: 'string',
    placeholder: 'FILE',
    help: 'A KubeProxyConfiguration file (kubeproxy.config.k8s.io/v1alpha1). Flags are then ignored, but --hostname-override, --master, --source, --state-file, --ipvs-drain-timeout, --userspace-*, --init-only, --cleanup and logging.',
  },
];

const conntrackFlags: FlagTable = [
  {
    name: 'conntrack-max-per-core',
    type: 'int',
    default: 32_768,
    configPath: 'conntrack.maxPerCore',
    help: 'Connections tracked at most, per CPU; 0 leaves the limit and ignores --conntrack-min.',
    group: 'Connection tracking',
  },
  {
    name: 'conntrack-min',
    type: 'int',
    default: 131_072,
    configPath: 'conntrack.min',
    help: 'Least limit of tracked connections, whatever --conntrack-max-per-core gives.',
    group: 'Connection tracking',
  },
  {
    name: 'conntrack-tcp-timeout-established',
    type: 'duration',
    default: 86_400_000,
    configPath: 'conntrack.tcpEstablishedTimeout',
    help: 'Idle time of established TCP connections; 0 leaves it.',
    group: 'Connection tracking',
  },
  {
    name: 'conntrack-tcp-timeout-close-wait',
    type: 'duration',
    default: 3_600_000,
    configPath: 'conntrack.tcpCloseWaitTimeout',
    help: 'Time-out of TCP connections in CLOSE_WAIT; 0 leaves it.',
    group: 'Connection tracking',
  },
  {
    name: 'conntrack-tcp-be-liberal',
    type: 'bool',
    default: false,
    configPath: 'conntrack.tcpBeLiberal',
    help: 'Track packets outside the TCP window too; then no INVALID packet is dropped.',
    group: 'Connection tracking',
  },
  {
    name: 'conntrack-udp-timeout',
    type: 'duration',
    default: 0,
    configPath: 'conntrack.udpTimeout',
    help: 'Idle time of UDP entries without an answer; 0 leaves it.',
    group: 'Connection tracking',
  },
  {
    name: 'conntrack-udp-timeout-stream',
    type: 'duration',
    default: 0,
    configPath: 'conntrack.udpStreamTimeout',
    help: 'Idle time of answered UDP entries; 0 leaves it.',
    group: 'Connection tracking',
  },
];

/** Logging, the same for every command that runs on. */
const loggingFlags: FlagTable = [
  {
    name: 'v',
    short: 'v',
    type: 'int',
    default: 0,
    field: 'verbosity',
    placeholder: 'LEVEL',
    configPath: 'logging.verbosity',
    help: 'Log more: from 2 on, debug lines.',
    group: 'Logging',
  },
  {
    name: 'logging-format',
    type: 'enum',
    values: ['', 'json', 'text'],
    default: '',
    configPath: 'logging.format',
    help: 'json or text. Default: text on a terminal, else json.',
    group: 'Logging',
  },
];

const compatible = (
  name: string,
  type: FlagSpec['type'],
  noEffect: string,
  configPath?: string,
): FlagSpec => ({
  name,
  type,
  noEffect,
  help: noEffect,
  ...(configPath === undefined ? {} : { configPath }),
});

/** kube-proxy's flags that mean nothing here, and those of work to come: each says so when given. */
const otherFlags: FlagTable = [
  compatible(
    'config-sync-period',
    'duration',
    'unchanged objects are never delivered again, so there is no resync',
    'configSyncPeriod',
  ),
  compatible(
    'kube-api-content-type',
    'string',
    'the API server is asked for JSON',
    'clientConnection.contentType',
  ),
  compatible('kube-api-burst', 'int', 'a few watches need no rate limit', 'clientConnection.burst'),
  compatible('kube-api-qps', 'string', 'a few watches need no rate limit', 'clientConnection.qps'),
  compatible(
    'show-hidden-metrics-for-version',
    'string',
    'no metric is hidden',
    'showHiddenMetricsForVersion',
  ),
  compatible('feature-gates', 'list', 'there are no feature gates'),
  compatible('vmodule', 'list', 'verbosity is set for the whole program with -v'),
  compatible('log-flush-frequency', 'duration', 'every line is written at once'),
  ...(['json', 'text'] as const).flatMap((format) => [
    compatible(
      `log-${format}-info-buffer-size`,
      'string',
      'every line is written at once',
      `logging.options.${format}.infoBufferSize`,
    ),
    compatible(
      `log-${format}-split-stream`,
      'bool',
      'all lines go to the standard error',
      `logging.options.${format}.splitStream`,
    ),
  ]),
  {
    name: 'write-config-to',
    type: 'string',
    help: 'Write a configuration file.',
    notYet: 'writing a configuration file is not built yet',
  },
];

/** Every flag `switchyard proxy` knows: kube-proxy's names and defaults, and --source. */
export const proxyFlags: FlagTable = [
  ...serviceFlags,
  ...processFlags,
  ...sourceFlags,
  ...ipvsFlags,
  ...userspaceFlags,
  ...conntrackFlags,
  ...metricsFlags,
  ...loggingFlags,
  ...otherFlags,
];
