import type { FlagSpec, FlagTable } from './flag-table.ts';

const group = 'Traffic metrics';

/** Beside kube-proxy's own flags of connection tracking. */
export const accountingFlag: FlagSpec = {
  name: 'conntrack-accounting',
  type: 'bool',
  default: false,
  help: 'Has connections counted in packets and bytes (net.netfilter.nf_conntrack_acct); false leaves it. Those begun before are not.',
  besideFile: true,
  group: 'Connection tracking',
};

/** Counting the traffic of each service port: Switchyard's own, so that no configuration file says it. */
export const trafficFlags: FlagTable = [
  {
    name: 'service-traffic',
    type: 'enum',
    values: ['none', 'connections', 'bytes'],
    default: 'none',
    help: "Metrics of each service port's traffic: its connections, or also its bytes (in iptables mode they need --conntrack-accounting, or that setting of the kernel). Default: none.",
    besideFile: true,
    group,
  },
  {
    name: 'service-traffic-interval',
    type: 'duration',
    default: 10_000,
    help: 'How often counters are read; less often where that would take more than a twentieth of the time. At least 1s.',
    besideFile: true,
    group,
  },
  {
    name: 'service-traffic-limit',
    type: 'int',
    default: 1000,
    placeholder: 'COUNT',
    help: 'So many service ports have metrics of their own at most, the first that are used; all others are in one sum.',
    besideFile: true,
    group,
  },
  {
    name: 'service-traffic-namespaces',
    type: 'list',
    placeholder: 'NAMES',
    help: 'Only service ports of these namespaces have metrics of their own. Default: those of all.',
    besideFile: true,
    group,
  },
];
