import type { FlagSpec, FlagTable } from './flag-table.ts';

const group = 'ipvs';

/** Counts in every mode: what another one finds there of ipvs stays. */
export const excludeCidrsFlag: FlagSpec = {
  name: 'ipvs-exclude-cidrs',
  type: 'list',
  placeholder: 'CIDR',
  configPath: 'ipvs.excludeCIDRs',
  help: 'Virtual servers at addresses inside these CIDRs are never touched.',
  group,
};

/** kube-proxy's flags of its ipvs mode, and our own: how long endpoints that went away are kept. */
export const ipvsFlags: FlagTable = [
  {
    name: 'ipvs-scheduler',
    type: 'string',
    default: '',
    placeholder: 'NAME',
    configPath: 'ipvs.scheduler',
    help: 'How a connection is given to an endpoint (rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh, ovf), where no annotation of the Service says otherwise. Default: rr.',
    group,
  },
  {
    name: 'ipvs-sync-period',
    type: 'duration',
    default: 30_000,
    configPath: 'ipvs.syncPeriod',
    zeroIsUnset: true,
    help: 'As --iptables-sync-period, in ipvs mode. Above 0.',
    group,
  },
  {
    name: 'ipvs-min-sync-period',
    type: 'duration',
    default: 0,
    configPath: 'ipvs.minSyncPeriod',
    help: 'As --iptables-min-sync-period, in ipvs mode.',
    group,
  },
  excludeCidrsFlag,
  {
    name: 'ipvs-strict-arp',
    type: 'bool',
    default: false,
    configPath: 'ipvs.strictARP',
    help: 'Answer ARP for the addresses of an interface on that interface alone (arp_ignore 1, arp_announce 2), as MetalLB needs it.',
    group,
  },
  {
    name: 'ipvs-tcp-timeout',
    type: 'duration',
    default: 0,
    configPath: 'ipvs.tcpTimeout',
    help: "Idle time of TCP connections in ipvs; 0 leaves the kernel's.",
    group,
  },
  {
    name: 'ipvs-tcpfin-timeout',
    type: 'duration',
    default: 0,
    configPath: 'ipvs.tcpFinTimeout',
    help: "Time-out of TCP connections in ipvs after a FIN; 0 leaves the kernel's.",
    group,
  },
  {
    name: 'ipvs-udp-timeout',
    type: 'duration',
    default: 0,
    configPath: 'ipvs.udpTimeout',
    help: "Idle time of UDP flows in ipvs; 0 leaves the kernel's.",
    group,
  },
  {
    name: 'ipvs-drain-timeout',
    besideFile: true,
    type: 'duration',
    default: 300_000,
    help: 'How long open connections to an endpoint that went away may last. kube-proxy waits for ever: a client that never disconnects, such as an NFS mount, then stays with a server that is gone. 0: not at all. In iptables mode: how long connections that ipvs mode has begun may last.',
    group,
  },
];
