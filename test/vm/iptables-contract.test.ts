// The iptables mode does on Debian's kernel what no other layer can ask of it: SCTP.
import process from 'node:process';
import { describe } from 'vitest';
import { backendContract } from '../kernel/contract.ts';
import { iptablesContract } from '../kernel/iptables-contracts.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;

/** The whole contract takes more than ten minutes in the guest. */
const some = {
  only: {
    reason: 'npm run test:kernel runs it; here with SWITCHYARD_VM_WHOLE=1',
    tests: ['sctp'],
  },
} as const;

describe.skipIf(!inGuest)('iptables mode (needs the guest of npm run test:vm)', () => {
  const isWhole = process.env['SWITCHYARD_VM_WHOLE'] === '1';
  backendContract({ ...iptablesContract('nft'), ...(isWhole ? {} : some) });
});
