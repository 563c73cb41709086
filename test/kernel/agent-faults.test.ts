import process from 'node:process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  cases,
  changeWords,
  clean,
  CrashLab,
  crashFlags,
  lasting,
  wordsOf,
  worlds,
  written,
} from '../support/crash-lab.ts';
import type { RecordedSteps } from '../support/crash-lab.ts';
import { NodeLab, eventually } from '../support/node-lab.ts';

/**
 * The one job: an agent that is killed (-9) at any step of a sync leaves nothing that the next agent does not put
 * right, and costs no request to a service that did not change.
 *
 * What a step is and which are tried: test/support/crash-lab.ts. Changes are tried with the legacy tools and starts with
 * the nft ones, because the steps are the same.
 */

const able = process.platform === 'linux' && process.getuid?.() === 0;

/** A lab whose agent has its objects from manifests. */
async function createLab(variant: 'legacy' | 'nft'): Promise<CrashLab> {
  const lab = await NodeLab.create(variant);
  await lab.write('lasting', ...lasting);
  return CrashLab.install(lab, {
    write: async (world) => lab.write('world', ...worlds[world]),
    startAgent: (toolFolder) => lab.startAgent(crashFlags, toolFolder),
  });
}

describe.skipIf(!able)('an agent that is killed at a step of a change (needs root)', () => {
  let node: CrashLab;
  let steps: readonly string[] = [];

  beforeAll(async () => {
    node = await createLab('legacy');
    ({ change: steps } = await node.record());
  });

  afterAll(async () => {
    await node.lab.close();
  });

  test('never killed: the rules do not depend on the way there', async () => {
    expect(steps.map(wordsOf)).toEqual(changeWords);
    expect(node.rules.one).not.toBe(node.rules.two);
    await node.write('two');
    await node.expectRules('two', 'never killed');
  });

  test('before each, and after the last', async () => {
    await node.crashWhileChanging(steps);
    await node.write('one');
    await node.expectRules('one', 'the last of them goes on');
  }, 240_000);

  test('leaves a restore at work, and it never writes over the rules of the next agent', async () => {
    await node.tools.meet(
      'iptables-legacy-restore: write rules',
      {
        before: 'kill -9 $agent; until [ -e $state/leave ]; do sleep 0.02; done',
        after: 'touch $state/written',
      },
      { once: true },
    );
    await node.write('two');
    await eventually(async () => node.tools.acted(), Boolean, 40_000);
    await node.agent.ended();
    await node.write('one');
    const next = node.start();
    await written(next);
    await node.expectRules('one', 'a restore was left at work');
    expect(next.log).toMatch(
      /iptables-legacy \(process \d+\), left at work by an agent that was killed/,
    );
    await node.tools.put('leave');
    await node.write('two');
    await node.expectRules('two', 'the next agent goes on');
    expect(await node.tools.has('written')).toBe(false);
  }, 120_000);
});

describe.skipIf(!able)('an agent that is killed at a step of its start (needs root)', () => {
  let node: CrashLab;
  let steps: RecordedSteps;

  beforeAll(async () => {
    node = await createLab('nft');
    steps = await node.record();
    await node.agent.stop();
  });

  afterAll(async () => {
    await node.lab.close();
  });

  test('before each and after the last, over the rules of an earlier one and with changes to make', async () => {
    const all = [...new Set([...steps.start, ...steps.change])];
    expect(all.map(wordsOf)).toEqual(['probe', 'probe', ...changeWords]);
    await node.crashWhileStarting(all);
  }, 240_000);

  test('before each that writes more than a probe, and after the last, on a node without rules', async () => {
    await node.write('one');
    for (const [step, when] of cases(steps.start.filter((each) => wordsOf(each) !== 'probe'))) {
      await clean(node.lab);
      await node.tools.meet(step, { [when]: 'kill -9 $agent; exit 1' }, { once: true });
      node.start();
      await eventually(async () => node.tools.acted(), Boolean, 40_000);
      await written(node.start());
      await node.expectRules('one', `killed ${when} "${step}" on a node without rules`);
      await node.agent.stop();
    }
  }, 120_000);
});
