import type { FlagTable } from './flag-table.ts';

const group = 'userspace';

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
    help: 'A UDP flow ends when nothing has passed for so long, where no annotation of the Service says otherwise. Above 0.',
    group,
  },
  {
    name: 'userspace-drain-timeout',
    type: 'duration',
    default: 300_000,
    help: 'How long open connections to an endpoint that went away may last, where no annotation of the Service says otherwise. 0: not at all.',
    group,
  },
  {
    name: 'userspace-portals',
    type: 'enum',
    values: ['iptables', 'none'],
    default: 'iptables',
    help: 'What brings connections to the listeners: rules, or nothing: then each Service listens at a loopback address of its own, and no root is needed.',
    group,
  },
  {
    name: 'userspace-port-offset',
    type: 'int',
    default: 10_000,
    placeholder: 'N',
    help: 'Without portals, a port below 1024 that this user may not have is moved by so many.',
    group,
  },
];
