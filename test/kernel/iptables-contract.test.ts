import process from 'node:process';
import { describe } from 'vitest';
import { backendContract } from './contract.ts';
import type { BackendContract } from './contract-suite.ts';

const flushes: BackendContract['disturbances'] = [
  {
    name: 'iptables -t nat -F',
    run: async (lab) => void (await lab.onNode('iptables', '-w', '-t', 'nat', '-F')),
  },
  { name: 'iptables -F', run: async (lab) => void (await lab.onNode('iptables', '-w', '-F')) },
  {
    name: 'iptables -t nat -F and -X',
    run: async (lab) => {
      await lab.onNode('iptables', '-w', '-t', 'nat', '-F');
      await lab.onNode('iptables', '-w', '-t', 'nat', '-X');
    },
  },
];

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
      disturbances: variant === 'nft' ? [...flushes, ...nftFlush] : flushes,
      skip: [],
    });
  }
});
