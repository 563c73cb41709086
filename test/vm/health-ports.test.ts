// What load balancers ask of a node in ipvs mode.
import process from 'node:process';
import { describe } from 'vitest';
import { healthPorts } from '../kernel/health-ports.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;
const flags = [
  '--proxy-mode=ipvs',
  '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
  '--conntrack-max-per-core=0',
];

describe.skipIf(!inGuest)(
  'health check ports in ipvs mode (needs the guest of npm run test:vm)',
  () => {
    healthPorts(() => flags, true);
  },
);
