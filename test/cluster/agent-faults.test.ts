/** An agent that is killed, stands still or runs out of memory, beside a real API server whose objects change meanwhile. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { proxyCommand } from '../support/agent-process.ts';
import type { AgentProcess } from '../support/agent-process.ts';
import {
  changeWords,
  clean,
  CrashLab,
  crashFlags,
  inForce,
  lasting,
  wordsOf,
  worlds,
  written,
} from '../support/crash-lab.ts';
import type { RecordedSteps, World } from '../support/crash-lab.ts';
import { eventually, NodeLab } from '../support/node-lab.ts';
import { nodeRules, restingRules } from '../support/node-rules.ts';
import { SteadyTraffic } from '../support/steady-traffic.ts';
import type { Conversation } from '../support/steady-traffic.ts';
import { ApiObjects, createObject } from './api-objects.ts';
import { ControlPlane } from './control-plane.ts';
import { bothFamilies, planeFor } from './lab-plane.ts';
import { kinds } from './fault-scene.ts';

const blocked = ControlPlane.blocked();
const patienceMs = 40_000;
/** Heap of an agent that is to run out of it, and the slices that do not fit: each takes about 1 MB. */
const smallHeapMiB = 32;
const tooManySlices = 40;
const nobodys = 'kubernetes.io/service-name=nobodys';

/** Who talks to the Service that nothing is done to. */
const conversations: readonly Conversation[] = (['client', 'node', 'pod-b'] as const).flatMap(
  (actor) =>
    (['tcp', 'udp'] as const).map((proto) => ({
      actor,
      question: { to: '10.96.0.10', port: 80, proto },
    })),
);

/** As large as a slice can be: 0.6 MB. No Service has it, so it makes no rule. */
function hugeSlice(name: string, round = 0): object {
  const [label = '', value = ''] = nobodys.split('=');
  const zone = (i: number, n: number): object => ({
    name: `zone-${n}-of-the-${i}th-pod-of-${name}`,
  });
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, labels: { [label]: value }, annotations: { round: String(round) } },
    addressType: 'IPv4',
    ports: [{ name: 'tcp', protocol: 'TCP', port: 8080 }],
    endpoints: Array.from({ length: 1000 }, (_, i) => ({
      addresses: [`10.245.${i >> 8}.${i % 256}`],
      conditions: { ready: true },
      hints: { forZones: Array.from({ length: 8 }, (_each, n) => zone(i, n)) },
    })),
  };
}

describe.skipIf(blocked !== undefined)(
  `an agent in trouble beside a real API server${blocked ? ` (${blocked})` : ''}`,
  () => {
    let lab: NodeLab;
    let plane: ControlPlane;
    let objects: ApiObjects;
    let bundle = '';

    beforeAll(async () => {
      lab = await NodeLab.create('nft');
      plane = planeFor(lab, { serviceCidrs: bothFamilies });
      await plane.start();
      objects = new ApiObjects(plane);
      bundle = join(plane.folder, 'switchyard.mjs');
      execFileSync(process.execPath, ['scripts/build.ts', bundle]);
    });

    afterAll(async () => {
      await plane?.stop();
      await lab?.close();
    });

    async function write(world: World, ...more: readonly object[]): Promise<void> {
      await objects.become([...lasting, ...worlds[world], ...more]);
    }

    function start(toolFolder?: string, heapMiB?: number): AgentProcess {
      const flags = [`--kubeconfig=${plane.kubeconfig()}`, '--hostname-override=node-a'];
      const heap =
        heapMiB === undefined ? [] : ['env', `NODE_OPTIONS=--max-old-space-size=${heapMiB}`];
      return lab.startClusterAgent(
        [...flags, ...crashFlags],
        [...heap, ...proxyCommand(bundle)],
        toolFolder,
      );
    }

    /** Ends an agent; the rules it leaves are those that another one makes on a node that has none. */
    async function leavesTheRulesOfAFreshOne(agent: AgentProcess): Promise<void> {
      const left = await restingRules(lab);
      await agent.stop();
      await clean(lab);
      const fresh = start();
      await eventually(
        async () => nodeRules(lab),
        (rules) => rules === left,
        patienceMs,
      );
      await fresh.stop();
    }

    describe('killed (-9)', () => {
      let node: CrashLab;
      let steps: RecordedSteps;

      beforeAll(async () => {
        node = await CrashLab.install(lab, { write, startAgent: start });
        steps = await node.record();
      });

      afterAll(async () => {
        await node?.agent.crash();
      });

      it('never: the rules do not depend on the way there', async () => {
        expect(steps.change.map(wordsOf)).toEqual(changeWords);
        expect(node.rules.one).not.toBe(node.rules.two);
        await node.write('two');
        await node.expectRules('two', 'never killed');
      });

      it('before each step of a change, and after the last', async () => {
        await node.crashWhileChanging(steps.change);
        await node.write('one');
        await node.expectRules('one', 'the last of them goes on');
        await node.agent.stop();
      }, 240_000);

      it('before each step of its start, and after the last, over the rules of an earlier one', async () => {
        const all = [...new Set([...steps.start, ...steps.change])];
        expect(all.map(wordsOf)).toEqual(['probe', 'probe', ...changeWords]);
        await node.crashWhileStarting(all);
      }, 240_000);
    });

    describe('left without time or room', () => {
      let traffic: SteadyTraffic | undefined;
      const agents: AgentProcess[] = [];

      function begin(heapMiB?: number): AgentProcess {
        const agent = start(undefined, heapMiB);
        agents.push(agent);
        return agent;
      }

      afterEach(async () => {
        await traffic?.stop();
        for (const agent of agents.splice(0)) await agent.crash();
      });

      it('standing still for a minute: it stays healthy, catches up, and lists a kind once at most', async () => {
        await write('one', hugeSlice('huge'));
        const agent = begin();
        await written(agent, 2);
        await inForce(lab, 'one');
        const before = await served();
        traffic = new SteadyTraffic(lab, conversations, { pauseMs: 20 });
        agent.freeze();
        const endMs = performance.now() + 60_000;
        for (let round = 1; performance.now() < endMs; round++) {
          await write(round % 2 === 0 ? 'one' : 'two', hugeSlice('huge', round));
          expect(await health()).toBe(0);
        }
        await write('two', hugeSlice('huge'));
        agent.thaw();
        expect(await eventually(health, (status) => status !== 0, patienceMs)).toBe(200);
        await inForce(lab, 'two');
        const { failures, by } = await traffic.stop();
        expect({ failures, by }).toEqual({ failures: [], by: ['pod-a'] });
        const after = await served();
        // the server gave up on a watch that took nothing any more
        expect(after.watchesGivenUp).toBeGreaterThan(before.watchesGivenUp);
        for (const kind of kinds) {
          expect(before.lists[kind], kind).toBeGreaterThan(0);
          expect(after.lists[kind], kind).toBeLessThanOrEqual((before.lists[kind] ?? 0) + 1);
        }
        expect(agent.log).toMatch(/this process stood still for \d+ s/);
        await leavesTheRulesOfAFreshOne(agent);
      }, 240_000);

      it('out of memory, amid events and amid a list: it says so, the rules stay, and one that has room goes on', async () => {
        await write('one');
        const first = begin(smallHeapMiB);
        await written(first, 2);
        await inForce(lab, 'one');
        const rules = await restingRules(lab);
        traffic = new SteadyTraffic(lab, conversations, { pauseMs: 20 });
        for (let i = 0; i < tooManySlices; i++) await createObject(plane, hugeSlice(`huge-${i}`));
        await first.ended();
        expect(first.log).toContain('JavaScript heap out of memory');
        expect(await nodeRules(lab)).toBe(rules);
        await write('two');
        const second = begin(smallHeapMiB);
        await second.ended();
        expect(second.log).toContain('JavaScript heap out of memory');
        expect(second.log).not.toContain('first rules written');
        expect(await nodeRules(lab)).toBe(rules);
        const third = begin();
        await written(third, 2);
        await inForce(lab, 'two');
        const { failures, by } = await traffic.stop();
        expect({ failures, by }).toEqual({ failures: [], by: ['pod-a'] });
        expect(third.log).not.toContain('"level":"error"');
        await leavesTheRulesOfAFreshOne(third);
      }, 240_000);
    });

    /** 0: no answer within a second. */
    async function health(): Promise<number> {
      return (await lab.get('node', 'http://127.0.0.1:10256/healthz')).status;
    }

    /** What the API server says it did, for all its clients. */
    async function served(): Promise<{
      readonly lists: Readonly<Record<string, number>>;
      readonly watchesGivenUp: number;
    }> {
      const { text } = await plane.request('GET', '/metrics');
      const sum = (...words: readonly string[]): number =>
        text
          .split('\n')
          .filter((line) => words.every((word) => line.includes(word)))
          .reduce((total, line) => total + Number(line.split(' ').at(-1)), 0);
      const requests = 'apiserver_request_total{';
      const lists = kinds.map((kind) => [kind, sum(requests, `resource="${kind}"`, 'verb="LIST"')]);
      return {
        lists: Object.fromEntries(lists) as Record<string, number>,
        watchesGivenUp: sum('apiserver_terminated_watchers_total{', 'resource="endpointslices"'),
      };
    }
  },
);
