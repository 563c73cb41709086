import type { FlagSpec, FlagTable } from './flag-table.ts';

const group = 'userspace';

/** Beside the other state file. */
export const usualPortsFile = '/run/switchyard/userspace.json';

/** Also of `cleanup`, which removes it. */
export const userspaceStateFileFlag: FlagSpec = {
  name: 'userspace-state-file',
  besideFile: true,
  type: 'string',
  placeholder: 'FILE',
  help: `Where the ports of listeners are kept from run to run; empty: nowhere. Default: ${usualPortsFile}, with --userspace-portals=none $XDG_STATE_HOME/switchyard/userspace.json.`,
  group,
};

/** kube-proxy's flags of its userspace mode, and our own. */
export const userspaceFlags: FlagTable = [
  {
    name: 'proxy-port-range',
    type: 'string',
    default: '',
    placeholder: 'RANGE',
    configPath: 'portRange',
    help: 'The ports that listeners are opened at: BEGIN-END, BEGIN+COUNT or one port. Default: any from 1024 that is neither a node port nor one the kernel gives to clients.',
    group,
  },
  {
    name: 'udp-timeout',
    type: 'duration',
    default: 250,
    configPath: 'udpIdleTimeout',
    zeroIsUnset: true,
    help: 'A UDP flow ends when nothing has passed for so long, where no annotation of the Service says otherwise. Above 0.',
    group,
  },
  {
    name: 'userspace-drain-timeout',
    besideFile: true,
    type: 'duration',
    default: 300_000,
    help: 'How long open connections to an endpoint that went away may last, where no annotation of the Service says otherwise. 0: not at all.',
    group,
  },
  {
    name: 'userspace-portals',
    besideFile: true,
    type: 'enum',
    values: ['iptables', 'none'],
    default: 'iptables',
    help: 'How clients reach the listeners: iptables leads the addresses of Services to them; none has no rules and needs no root, each Service then stands at an address of its own in 127.0.0.0/8. Default: iptables.',
    group,
  },
  {
    name: 'userspace-workers',
    besideFile: true,
    type: 'int',
    default: 0,
    placeholder: 'COUNT',
    help: 'Threads that carry bytes, at most 64. 0: one for each processor, 8 at most.',
    group,
  },
  {
    name: 'userspace-shutdown-timeout',
    besideFile: true,
    type: 'duration',
    default: 25_000,
    help: 'How long open connections may last after SIGTERM; what is left then is reset. Stay below the grace period of the pod or unit.',
    group,
  },
  {
    name: 'userspace-port-offset',
    besideFile: true,
    type: 'int',
    default: 10_000,
    placeholder: 'COUNT',
    help: 'With --userspace-portals=none: a port below 1024 that this user may not open is moved up by so much.',
    group,
  },
  userspaceStateFileFlag,
];
