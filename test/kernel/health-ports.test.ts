// What load balancers ask of a node, in the modes that any kernel can do; ipvs mode: test/vm.
import process from 'node:process';
import { describe } from 'vitest';
import { healthPorts } from './health-ports.ts';
import { userspaceFlags } from './userspace-listeners.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;
const usual = ['--cluster-cidr=10.244.0.0/16,fd00:10:244::/48', '--conntrack-max-per-core=0'];

describe.skipIf(!able)('health check ports in iptables mode (needs root on Linux)', () => {
  healthPorts(() => usual);
});

describe.skipIf(!able)('health check ports in userspace mode (needs root on Linux)', () => {
  healthPorts(userspaceFlags);
});
