// What every backend has to do, asked of the ipvs mode: the half that is asked of Services that are there.
import process from 'node:process';
import { describe } from 'vitest';
import { backendContract, standing } from '../kernel/contract.ts';
import { ipvsContract } from './ipvs-contract.ts';

const inGuest = process.env['SWITCHYARD_VM'] !== undefined;

describe.skipIf(!inGuest)('ipvs mode, standing (needs the guest of npm run test:vm)', () => {
  backendContract(ipvsContract, undefined, standing);
});
