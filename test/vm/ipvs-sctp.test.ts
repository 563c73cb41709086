// The part of the contract that is about SCTP, in ipvs mode; the rest is asked in ipvs-contract.test.ts.
import process from 'node:process';
import { describe } from 'vitest';
import { backendContract } from '../kernel/contract.ts';
import { ipvsContract } from './ipvs-contracts.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;

describe.skipIf(!inGuest)('SCTP in ipvs mode (needs the guest of npm run test:vm)', () => {
  backendContract(ipvsContract, undefined, ['associating']);
});
