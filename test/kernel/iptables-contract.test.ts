// The iptables mode does what every backend has to do, with both variants of the tools.
import process from 'node:process';
import { describe } from 'vitest';
import { backendContract } from './contract.ts';
import { iptablesContract } from './iptables-contracts.ts';

const able = process.platform === 'linux' && process.getuid?.() === 0;

describe.skipIf(!able)('iptables mode (needs root on Linux: it makes network namespaces)', () => {
  for (const variant of ['legacy', 'nft'] as const) backendContract(iptablesContract(variant));
});
