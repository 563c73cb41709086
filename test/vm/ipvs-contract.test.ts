// The ipvs mode does what every backend has to do, but for the deviations that docs/adr/0008-ipvs-layout.md lists.
import process from 'node:process';
import { describe } from 'vitest';
import { backendContract, wholeContract } from '../kernel/contract.ts';
import { ipvsContract } from './ipvs-contracts.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;

describe.skipIf(!inGuest)('ipvs mode (needs the guest of npm run test:vm)', () => {
  // SCTP is asked for in ipvs-sctp.test.ts.
  const parts = wholeContract.filter((part) => part !== 'associating');
  backendContract(ipvsContract, undefined, parts);
});
