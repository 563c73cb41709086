import type { BackendContract } from '../kernel/contract-suite.ts';

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

/** What every backend has to do, asked of the ipvs mode, but for the deviations that docs/adr/0008-ipvs-layout.md lists. */
export const ipvsContract: BackendContract = {
  name: 'nft tools',
  variant: 'nft',
  start: (lab, flags) => {
    const own = flags.map((flag) => flag.replace(/^--iptables-/, '--ipvs-'));
    // Under load a test may take longer than connections are usually given.
    return lab.startAgent(['--proxy-mode=ipvs', '--ipvs-drain-timeout=20m', ...own]);
  },
  disturbances,
  deviations: new Set(['one pool', 'masqueraded node', 'node ports of loopback']),
  skip: exceptions,
};
