// The iptables mode does what every backend has to do on Debian's kernel too, over SCTP among others.
import process from 'node:process';
import { describe } from 'vitest';
import { backendContract } from '../kernel/contract.ts';
import { iptablesContract } from '../kernel/iptables-contracts.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;

describe.skipIf(!inGuest)('iptables mode (needs the guest of npm run test:vm)', () => {
  for (const variant of ['nft'] as const) backendContract(iptablesContract(variant));
});
