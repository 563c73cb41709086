/* oxlint-disable vitest/valid-title -- a suite that is declared once for each backend */
import process from 'node:process';
import { afterAll, beforeAll, beforeEach, describe } from 'vitest';
import { changing } from './contract-changing.ts';
import { masquerading } from './contract-masquerade.ts';
import { reaching } from './contract-reaching.ts';
import { associating } from './contract-sctp.ts';
import { refusing } from './contract-refusing.ts';
import { sources } from './contract-sources.ts';
import { sticking } from './contract-sticking.ts';
import { Suite } from './contract-suite.ts';
import type { BackendContract } from './contract-suite.ts';
import { surviving } from './contract-surviving.ts';
import type { NodeLab } from '../support/node-lab.ts';

type Part = (suite: Suite) => void;

/** What is asked of Services that are there. */
export const standing: readonly Part[] = [reaching, sources, masquerading, refusing, sticking];

/** What is asked while Services change, agents restart and strangers interfere; and SCTP. */
export const moving: readonly Part[] = [changing, surviving, associating];

/**
 * What every backend has to do, with real packets and the real agent. In a lab of its own, or in one that is lent by the
 * time the tests run: a fresh one of the contract's variant, on which nothing serves any Service.
 */
export function backendContract(
  contract: BackendContract,
  lent?: () => NodeLab,
  parts: readonly Part[] = [...standing, ...moving],
): void {
  describe(contract.name, () => {
    const suite = new Suite(contract, lent);
    beforeAll(async () => suite.open());
    afterAll(async () => suite.close());
    beforeEach(({ onTestFailed }) => {
      onTestFailed(async () => {
        process.stderr.write(await suite.report());
      });
    });
    for (const part of parts) part(suite);
  });
}
