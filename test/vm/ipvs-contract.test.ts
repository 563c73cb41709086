// The ipvs mode does what every backend has to do, but for the deviations that docs/adr/0008-ipvs-layout.md lists.
import process from 'node:process';
import { describe } from 'vitest';
import { backendContract } from '../kernel/contract.ts';
import type { BackendContract } from '../kernel/contract-suite.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;

const disturbances: BackendContract['disturbances'] = [
  ['ipvsadm', '-C'],
  ['ip', 'link', 'del', 'kube-ipvs0'],
  ['ipset', 'flush', 'KUBE-IPVS-SERVED-1'],
  ['iptables', '-w', '-t', 'nat', '-F'],
  ['iptables', '-w', '-F'],
].map(([tool = '', ...args]) => ({
  name: [tool, ...args].join(' '),
  run: async (lab) => void (await lab.onNode(tool, ...args)),
}));

/** What the contract asks and this mode cannot do. Everything else of it runs. */
const exceptions: BackendContract['skip'] = [
  {
    // ipvs-backend.test.ts shows it.
    reason: 'the kernel keeps the endpoint of a client while it remembers a connection of it',
    deviation: 'affinity by frontend',
    tests: ['affinity-expiry'],
  },
];

/** What every backend has to do, asked of the ipvs mode. */
const ipvsContract: BackendContract = {
  name: 'nft tools',
  variant: 'nft',
  start: (lab, flags) => {
    const own = flags.map((flag) => flag.replace(/^--iptables-/, '--ipvs-'));
    return lab.startAgent(['--proxy-mode=ipvs', ...own]);
  },
  disturbances,
  deviations: new Set(['one pool', 'masqueraded node', 'node ports of loopback']),
  skip: exceptions,
};

describe.skipIf(!inGuest)('ipvs mode (needs the guest of npm run test:vm)', () => {
  backendContract(ipvsContract);
});
