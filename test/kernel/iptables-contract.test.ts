import process from 'node:process';
import { describe } from 'vitest';
import { backendContract } from './contract.ts';
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

const able = process.platform === 'linux' && process.getuid?.() === 0;

describe.skipIf(!able)('iptables mode (needs root on Linux: it makes network namespaces)', () => {
  for (const variant of ['legacy', 'nft'] as const) {
    backendContract({
      name: `${variant} tools`,
      variant,
      start: (lab, flags) => lab.startAgent(['--proxy-mode=iptables', ...flags]),
      disturbances: variant === 'nft' ? [...disturbances, ...nftFlush] : disturbances,
      skip: [],
    });
  }
});
