import { compatibleFlags } from './compatible-flags.ts';
import { fileFields, nftablesFields } from './file-fields.ts';
import type { FlagSpec, FlagTable } from './flag-table.ts';
import { ipvsFlags } from './ipvs-flags.ts';
import { metricsFlags } from './metrics-flags.ts';
import { accountingFlag, trafficFlags } from './traffic-flags.ts';
import { userspaceFlags } from './userspace-flags.ts';

/** Where objects come from; also used by commands that read manifests. */
const sourceFlags: FlagTable = [
  {
    name: 'source',
    besideFile: true,
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
    besideFile: true,
    type: 'string',
    placeholder: 'URL',
    help: "Address of the API server; overrides the kubeconfig's.",
    group: 'Objects',
  },
  {
    name: 'hostname-override',
    besideFile: true,
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
    zeroIsUnset: true,
    help: 'How soon a failed sync is retried and rules broken by others are noticed. Above 0.',
    group: 'iptables',
  },
  {
    name: 'iptables-min-sync-period',
    type: 'duration',
    default: 1000,
    configPath: 'iptables.minSyncPeriod',
    zeroIsUnset: true,
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
    help: 'Node ports answer on local addresses inside these CIDRs only. Words for some: `primary` (the node IPs), `localhost` (127.0.0.0/8 and ::1/128), `all`. Default: all.',
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
  besideFile: true,
  type: 'string',
  default: '/run/switchyard/node.json',
  placeholder: 'FILE',
  help: 'Where it is recorded what was changed besides rules (sysctls, KUBE-FIREWALL), for the clean-up; empty: nowhere.',
  group: 'Node',
};

/** Also of the commands that ask the agent. */
export const adminSocketFlag: FlagSpec = {
  name: 'admin-socket',
  besideFile: true,
  type: 'string',
  placeholder: 'FILE',
  help: 'The unix socket at which the agent answers status, explain and diff; empty: nowhere. Default: /run/switchyard/admin.sock, for another user than root $XDG_RUNTIME_DIR/switchyard/admin.sock.',
  group: 'Servers',
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
  adminSocketFlag,
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
    besideFile: true,
    type: 'bool',
    default: false,
    help: 'Do what needs privileges at start (sysctls), then exit.',
  },
  {
    name: 'cleanup',
    besideFile: true,
    type: 'bool',
    default: false,
    help: 'Remove all rules and exit: the same as switchyard cleanup.',
  },
  stateFileFlag,
  {
    name: 'config',
    besideFile: true,
    type: 'string',
    placeholder: 'FILE',
    help: 'A KubeProxyConfiguration file (kubeproxy.config.k8s.io/v1alpha1). Flags are then ignored, but for --hostname-override, logging, and what no file can say.',
  },
  {
    name: 'write-config-to',
    besideFile: true,
    type: 'string',
    placeholder: 'FILE',
    help: 'Write the configuration that flags or --config give to this file, all defaults filled in, and exit.',
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
    besideFile: true,
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
    besideFile: true,
    type: 'enum',
    values: ['', 'json', 'text'],
    default: '',
    configPath: 'logging.format',
    help: 'json or text. Default: text on a terminal, else json.',
    group: 'Logging',
  },
];

/**
 * Everything that can be set of `switchyard proxy`: kube-proxy's flags and fields with their defaults, and our own. What no
 * flag says is among them (`fileOnly`).
 */
export const proxyFlags: FlagTable = [
  ...serviceFlags,
  ...processFlags,
  ...sourceFlags,
  ...ipvsFlags,
  ...userspaceFlags,
  ...conntrackFlags,
  ...metricsFlags,
  accountingFlag,
  ...trafficFlags,
  ...loggingFlags,
  ...compatibleFlags,
  ...nftablesFields,
  ...fileFields,
];
