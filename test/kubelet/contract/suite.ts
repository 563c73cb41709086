import { describe, it } from 'vitest';
import { lifecycle } from './lifecycle.ts';
import { recovery } from './recovery.ts';
import { probing } from './probing.ts';
import type { Scenario } from './scenario.ts';
import { volumes } from './volumes.ts';
import type { World } from './world.ts';

/** All scenarios, in the order of their numbers. */
export const scenarios: readonly Scenario[] = [
  ...lifecycle,
  ...volumes,
  ...probing,
  ...recovery,
].toSorted((a, b) => a.number - b.number);

/** Asks everything of one world. */
export function contract(kind: World['runtime']['kind'], world: () => World): void {
  describe(`the contract with ${kind}`, () => {
    for (const scenario of scenarios) {
      const { number, title, notInMemory } = scenario;
      const skipped = kind === 'memory' && notInMemory !== undefined;
      it.skipIf(skipped)(`${number}: ${title}${skipped ? ` (${notInMemory})` : ''}`, async () => {
        await scenario.run(world());
      });
    }
  });
}
