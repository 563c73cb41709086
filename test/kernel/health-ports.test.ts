// What load balancers ask of a node, in the modes that any kernel can do; ipvs mode: test/vm.
import process from 'node:process';
import { healthPorts } from './health-ports.ts';
import { userspaceFlags } from './userspace-listeners.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
const skip = able ? undefined : 'needs root on Linux';

healthPorts(
  'iptables',
  () => ['--cluster-cidr=10.244.0.0/16,fd00:10:244::/48', '--conntrack-max-per-core=0'],
  skip,
);
healthPorts('userspace', userspaceFlags, skip);
