import type { BackendContract } from './contract-suite.ts';

const disturbances: BackendContract['disturbances'] = [
  ['iptables', '-w', '-t', 'nat', '-F'],
  ['iptables', '-w', '-F'],
  ['sh', '-c', 'iptables -w -t nat -F; iptables -w -t nat -X'],
  ['iptables', '-w', '-t', 'nat', '-I', 'KUBE-SERVICES', '1', '-j', 'RETURN'],
  ['iptables', '-w', '-I', 'KUBE-FORWARD', '1', '-j', 'DROP'],
].map(([tool = '', ...args]) => ({
  name: [tool, ...args].join(' '),
  run: async (lab) => void (await lab.onNode(tool, ...args)),
}));

const nftFlush: BackendContract['disturbances'] = [
  {
    name: 'nft flush ruleset',
    run: async (lab) => void (await lab.onNode('nft', 'flush', 'ruleset')),
  },
];

/** The iptables mode, with either variant of the tools. */
export function iptablesContract(variant: 'legacy' | 'nft'): BackendContract {
  return {
    name: `${variant} tools`,
    variant,
    start: (lab, flags) => lab.startAgent(['--proxy-mode=iptables', ...flags]),
    disturbances: variant === 'nft' ? [...disturbances, ...nftFlush] : disturbances,
    deviations: new Set(),
    skip: [],
  };
}
