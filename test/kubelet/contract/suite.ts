import { describe, it } from 'vitest';
import { claimed } from './claims.ts';
import { debugging } from './debugging.ts';
import { ending } from './ending.ts';
import { environment } from './environment.ts';
import { hostPorts } from './host-ports.ts';
import { lifecycle } from './lifecycle.ts';
import { manifests } from './manifests.ts';
import { probing } from './probing.ts';
import { recovery } from './recovery.ts';
import { runtimeClasses } from './runtime-classes.ts';
import { sandbox } from './sandbox.ts';
import type { Scenario } from './scenario.ts';
import { serving } from './serving.ts';
import { sources } from './sources.ts';
import { sysctls } from './sysctls.ts';
import { Trial } from './trial.ts';
import { volumes } from './volumes.ts';
import type { World, WorldRuntime } from './world.ts';

/** All scenarios, in the order of their numbers. */
export const scenarios: readonly Scenario[] = [
  ...manifests,
  ...sources,
  ...lifecycle,
  ...ending,
  ...sandbox,
  ...sysctls,
  ...volumes,
  ...environment,
  ...probing,
  ...recovery,
  ...debugging,
  ...claimed,
  ...hostPorts,
  ...runtimeClasses,
  ...serving,
].toSorted((a, b) => a.number - b.number);

export type Worlds = Readonly<Record<WorldRuntime['kind'], () => World>>;

/** Asks everything of each world: many scenarios at a time, since most of their time is waiting; those that cannot be with others, one by one. */
export function contract(worlds: Worlds): void {
  const together = scenarios.filter(({ alone }) => alone === undefined);
  const longFirst = together.toSorted((a, b) => Number(b.long ?? false) - Number(a.long ?? false));
  describe('the contract', () => {
    for (const scenario of longFirst) ask(scenario, worlds);
  });
  for (const scenario of scenarios.filter(({ alone }) => alone !== undefined)) {
    describe(`the contract, one at a time: ${scenario.alone}`, () => {
      ask(scenario, worlds);
    });
  }
}

function ask(scenario: Scenario, worlds: Worlds): void {
  const { number, title, notInMemory } = scenario;
  for (const [kind, world] of Object.entries(worlds)) {
    const reason = kind === 'memory' ? notInMemory : undefined;
    const name = `${number}: ${title}, with ${kind}${reason === undefined ? '' : ` (${reason})`}`;
    it.skipIf(reason !== undefined).concurrent(
      name,
      async () => {
        const trial = new Trial(world(), number);
        const [ran] = await Promise.allSettled([scenario.run(trial)]);
        const [ended] = await Promise.allSettled([trial.end()]);
        // What came of a failure says less than the failure.
        for (const each of [ran, ended]) if (each.status === 'rejected') throw each.reason;
      },
      240_000,
    );
  }
}
