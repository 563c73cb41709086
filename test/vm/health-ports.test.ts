// What load balancers ask of a node in ipvs mode.
import process from 'node:process';
import { healthPorts } from '../kernel/health-ports.ts';

const skip = process.env['SWITCHYARD_VM'] === undefined ? 'npm run test:vm runs it' : undefined;

healthPorts(
  'ipvs',
  () => [
    '--proxy-mode=ipvs',
    '--cluster-cidr=10.244.0.0/16,fd00:10:244::/48',
    '--conntrack-max-per-core=0',
  ],
  skip,
);
