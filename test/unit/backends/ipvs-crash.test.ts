// An agent is killed after any line of any tool, and the next one has another state to write: a packet meets only what some
// state has for it or a refusal, and nothing of the dead one is left.
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import type { IpvsState } from '../../../src/backends/ipvs/state.ts';
import type { ToolRunner } from '../../../src/host/run-tool.ts';
import { FakeIpvsNode } from '../../support/fake-ipvs-node.ts';
import { kernelOf, nodeInState, startAgent } from '../../support/ipvs-agents.ts';
import { changesThrough, parts, statesOf } from '../../support/ipvs-changes.ts';
import { Watch } from '../../support/ipvs-watch.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

/** Longer than anything drains. */
const drainedMs = 60_000;

/** Tools of an agent that is dead from a moment on: what runs then ends, and nothing else begins. */
class Mortal {
  readonly tools: ToolRunner;
  #isDead = false;

  constructor(node: FakeIpvsNode) {
    this.tools = {
      run: async (...run) => {
        if (this.#isDead) throw new Error('killed');
        return node.tools.run(...run);
      },
    };
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** To be called by the tool that runs. */
  kill(): never {
    this.#isDead = true;
    throw new Error('killed');
  }
}

interface Killed {
  readonly states: readonly [before: IpvsState, asked: IpvsState];
  /** The agent that is killed has not written `before` itself. */
  readonly isRestarted: boolean;
}

/** An agent that is about to write the state at which it is killed. */
async function agentOn(
  node: FakeIpvsNode,
  clock: VirtualClock,
  { states: [before], isRestarted }: Killed,
) {
  const mortal = new Mortal(node);
  const options = { clock, tools: mortal.tools };
  const first = startAgent(node, options);
  await first(before);
  return { mortal, sync: isRestarted ? startAgent(node, options) : first };
}

/** How many lines the tools do while the agent writes the state, if nobody kills it. */
async function linesOf(killed: Killed): Promise<number> {
  const node = new FakeIpvsNode();
  const { sync } = await agentOn(node, new VirtualClock(), killed);
  let lines = 0;
  node.onStep = () => void lines++;
  await sync(killed.states[1]);
  return lines;
}

const crashes = fc.record({
  changes: changesThrough(3),
  /** After which of the lines, as a part of all. */
  at: parts,
  isRestarted: fc.boolean(),
});

it('an agent that is killed anywhere leaves nothing behind, and lets no packet escape meanwhile', async () => {
  let kills = 0;
  await fc.assert(
    fc.asyncProperty(crashes, async ({ changes, at, isRestarted }) => {
      const [before, asked, next] = statesOf(changes) as [IpvsState, IpvsState, IpvsState];
      const killed: Killed = { states: [before, asked], isRestarted };
      const lines = await linesOf(killed);
      const node = new FakeIpvsNode();
      const clock = new VirtualClock();
      const { mortal, sync } = await agentOn(node, clock, killed);
      const watch = new Watch(node, changes);
      const first = watch.begin();
      let left = Math.floor(at * lines);
      node.onStep = (tool, line) => {
        watch.step(tool, line);
        if (left-- === 0) mortal.kill();
      };
      await sync(asked).catch(() => undefined);
      expect(mortal.isDead).toBe(lines > 0);
      kills += Number(mortal.isDead);

      node.onStep = watch.step;
      const heir = startAgent(node, { clock });
      await heir(next);
      watch.end();
      await clock.advance(drainedMs);
      await heir(next);

      const [askedAlone, nextAlone] = [
        await nodeInState(asked, { clock }),
        await nodeInState(next, { clock }),
      ];
      expect(kernelOf(node)).toEqual(kernelOf(nextAlone));
      const settled = [askedAlone, nextAlone].map((each) => new Watch(each, changes).now());
      expect(watch.strange([first, ...settled])).toEqual([]);
    }),
    // Shrinking would take minutes.
    { numRuns: 30, endOnFailure: true },
  );
  expect(kills).toBeGreaterThan(0);
});
