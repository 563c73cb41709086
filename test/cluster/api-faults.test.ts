import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eventually } from '../support/node-lab.ts';
import { ControlPlane, tokens } from './control-plane.ts';
import type { RelayedRequest, RelayFault } from './fault-relay.ts';
import { FaultScene, kinds } from './fault-scene.ts';
import type { Change } from './fault-scene.ts';

const blocked = ControlPlane.blocked();
const expired: RelayFault = { on: 'watch', do: 'status', status: 410 };
const hastyAgent = join(import.meta.dirname, 'hasty-agent.ts');
/** How much faster time runs for it. */
const haste = 15;
/** Timers count in whole milliseconds. */
const timerErrorMs = 2;

/** A number for each kind. */
function each(count: number): Record<string, number> {
  return Object.fromEntries(kinds.map((kind) => [kind, count]));
}

function withStatus(requests: readonly RelayedRequest[], status: number): number {
  return requests.filter((request) => request.status === status).length;
}

/** A kind's requests end with a watch that goes on from a list. */
function listedAndWatching(requests: readonly RelayedRequest[]): boolean {
  const last = requests.at(-1);
  return requests.some(({ verb }) => verb !== 'watch') && isOpen(last);
}

function isOpen(request: RelayedRequest | undefined): boolean {
  return request?.verb === 'watch' && request.status === 200;
}

/** How long after each of a kind's requests the next one came. A slow machine makes it longer, never shorter. */
function pausesMs(requests: readonly RelayedRequest[], kind: string): readonly number[] {
  const own = requests.filter(({ resource }) => resource === kind);
  return own.slice(1).map(({ atMs }, index) => atMs - (own[index]?.atMs ?? 0));
}

/** Pauses that are shorter than back-off makes them: 1.6 s after the first refusal, then twice as long each time. */
function tooSoon(requests: readonly RelayedRequest[], kind: string): readonly string[] {
  return pausesMs(requests, kind).flatMap((pauseMs, index) => {
    const leastMs = Math.min(1600 * 2 ** index, 15_000) / haste;
    return pauseMs >= leastMs - timerErrorMs
      ? []
      : [`${kind}: ${pauseMs} ms after refusal ${index + 1}, at least ${leastMs} expected`];
  });
}

describe.skipIf(blocked !== undefined)(
  `an API server in trouble: Services work all the while${blocked ? ` (${blocked})` : ''}`,
  () => {
    let scene: FaultScene;
    let atFirst: ReturnType<FaultScene['holdings']>;

    beforeAll(async () => {
      scene = await FaultScene.build();
      await scene.startAgent();
      atFirst = scene.holdings();
    });

    beforeEach(() => scene.startAsking());

    afterEach(async () => {
      await scene.relay.faults();
      expect(await scene.answeredBy()).toEqual([['pod-a'], ['pod-b'], ['pod-b']]);
    });

    afterAll(async () => {
      await scene?.stop();
    });

    /** The fault ends, and the agent has to see what was changed meanwhile. */
    async function catchesUp(change: Change): Promise<void> {
      await scene.relay.cut();
      await scene.caughtUp(change);
    }

    async function holdsNoMore(): Promise<void> {
      await eventually(
        async () => scene.holdings(),
        ({ sockets }) => sockets <= atFirst.sockets + 4,
        40_000,
      );
      expect(scene.holdings().residentMiB).toBeLessThan(1.5 * atFirst.residentMiB + 30);
      expect(scene.agent.log).not.toContain('unhandled failure');
      expect(scene.agent.log.split('\n').length).toBeLessThan(400);
    }

    it('killed and started again: what was watched is listed once at most', async () => {
      await scene.relay.forget();
      await scene.plane.stopApiServer();
      await scene.plane.startApiServer();
      await scene.caughtUp(await scene.change());
      await scene.relaySaw((requests) => isOpen(requests.at(-1)));
      const lists = Object.values(await scene.count('list', 'answered'));
      expect(Math.max(...lists)).toBeLessThanOrEqual(1);
      expect(await scene.count('page')).toEqual(each(0));
    });

    it('etcd compacted and the server’s memory empty: 410, and one list a kind', async () => {
      await scene.strike({ do: 'hang' });
      const change = await scene.change();
      await scene.plane.compactEtcd();
      await scene.plane.stopApiServer();
      await scene.plane.startApiServer();
      await catchesUp(change);
      await scene.relaySaw(listedAndWatching);
      await scene.relaySaw((requests) => withStatus(requests, 410) > 0);
      expect(await scene.count('list', 'answered')).toEqual(each(1));
    });

    it('etcd and the API server both killed and started again', async () => {
      await scene.relay.forget();
      await scene.plane.stopApiServer();
      await scene.plane.stopEtcd();
      scene.plane.startEtcd();
      await scene.plane.startApiServer();
      await scene.caughtUp(await scene.change());
      const lists = Object.values(await scene.count('list', 'answered'));
      expect(Math.max(...lists)).toBeLessThanOrEqual(1);
      await holdsNoMore();
    });

    describe('(an agent for whom time runs fifteen times as fast)', () => {
      beforeAll(async () => {
        await scene.agent.stop();
        await scene.startAgent(hastyAgent);
        atFirst = scene.holdings();
      });

      it('slow answers, by a few bytes at a time: waited for, and no list', async () => {
        await scene.strike({ do: 'delay', ms: 1500 });
        await scene.relaySaw((requests) => isOpen(requests.at(-1)));
        await scene.caughtUp(await scene.change());
        await scene.strike({ do: 'trickle', bytes: 16, ms: 2 });
        await scene.caughtUp(await scene.change());
        expect(await scene.count('list')).toEqual(each(0));
      });

      it('a list that breaks off in the middle removes nothing and is asked for again', async () => {
        await scene.strike(expired, { on: 'list', do: 'cut', bytes: 60_000 });
        const change = await scene.change();
        await scene.relaySaw((requests) => requests.some(({ verb }) => verb === 'list'));
        await catchesUp(change);
        await scene.relaySaw(listedAndWatching);
      });

      it('a version the server does not know, as after a restore: the newest state, by pages', async () => {
        await scene.strike(expired, { on: 'list', do: 'status', status: 504 });
        const change = await scene.change();
        await scene.relaySaw((requests) => withStatus(requests, 504) > 0);
        await catchesUp(change);
        await scene.relaySaw(listedAndWatching);
        const pages = { ...each(0), services: 1, endpointslices: 1 };
        expect(await scene.count('page')).toEqual(pages);
      });

      it('a storm of 429: Retry-After is honored, and nothing is listed', async () => {
        await scene.strike({ do: 'status', status: 429, headers: { 'retry-after': '30' } });
        const change = await scene.change();
        await scene.relaySaw((requests) => withStatus(requests, 429) >= 2);
        const refused = (await scene.relay.seen()).filter(({ status }) => status === 429);
        const pauses = kinds.flatMap((kind) => pausesMs(refused, kind));
        expect(Math.min(...pauses)).toBeGreaterThanOrEqual(30_000 / haste - timerErrorMs);
        await catchesUp(change);
        expect(await scene.count('list')).toEqual(each(0));
      });

      it('a storm of 500 and of a proxy’s 502: asked ever more rarely, and nothing is listed', async () => {
        await scene.strike(
          { do: 'status', status: 500, every: 2 },
          { do: 'status', status: 502, body: '<html><h1>Bad gateway</h1></html>' },
        );
        const change = await scene.change();
        await scene.relaySaw((requests) => requests.length >= 4);
        const storm = await scene.relay.seen();
        await catchesUp(change);
        expect(await scene.count('list')).toEqual(each(0));
        expect(kinds.flatMap((kind) => tooSoon(storm, kind))).toEqual([]);
      });

      it('an expired token: refused until it is renewed in its file', async () => {
        await scene.strike({ do: 'status', status: 401, token: tokens.proxy });
        const change = await scene.change();
        await scene.relaySaw((requests) => withStatus(requests, 401) >= 2);
        scene.writeToken(tokens.proxyRenewed);
        await scene.caughtUp(change);
        expect(await scene.count('list')).toEqual(each(0));
      });

      it('frozen connections are given up after 90 s of silence, and nothing is listed', async () => {
        const before = scene.agent.log.length;
        await scene.relay.forget();
        await scene.relay.mute();
        await scene.caughtUp(await scene.change());
        expect(scene.agent.log.slice(before)).toMatch(/cannot watch services:.*no byte for 90 s/);
        expect(await scene.count('list')).toEqual(each(0));
      });

      it('packets that vanish: the same, and connecting is tried until it succeeds', async () => {
        await scene.relay.forget();
        const change = await scene.losingPackets(async () => {
          const before = scene.agent.log.length;
          await eventually(
            async () => scene.agent.log.slice(before),
            (log) => /cannot watch services:.*no byte for 90 s/.test(log),
            40_000,
          );
          return scene.change();
        });
        await scene.caughtUp(change);
        expect(await scene.count('list')).toEqual(each(0));
      });

      it('after all of it the agent holds no more than before', async () => {
        await holdsNoMore();
      });
    });
  },
);
