// The look of each two seconds: what it takes for a pod that no source has any more, and when it asks the runtime for that.
import { describe, expect, it } from 'vitest';
import type { KubeletBase } from '../../../../src/kubelet/base/kubelet-base.ts';
import { NodeUpkeep } from '../../../../src/kubelet/parts/node-upkeep.ts';
import type { NodeUpkeepOptions } from '../../../../src/kubelet/parts/node-upkeep.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';
import { runtimeContainer, runtimePod } from '../support/runtime-pods.ts';

function left(
  configured: ReadonlySet<string>,
  pods: ReadonlyMap<string, unknown>,
): readonly string[] {
  return [...pods.keys()].filter((uid) => !configured.has(uid));
}

class Scene {
  readonly clock = new VirtualClock();
  readonly stop = new AbortController();
  /** Of pods that a source has. */
  readonly uids: string[] = [];
  /** In cgroups. */
  readonly cgroups = new Set<string>();
  /** Whose cgroup cannot be removed. */
  stuck = '';
  /** Pods of the runtime that the look took for ones that no source has, each time. */
  readonly missed: (readonly string[])[] = [];
  readonly asked: string[] = [];
  /** Containers that were removed. */
  readonly removed: string[] = [];
  /** Pods whose workers have ended, and those of them of which the API server knows that. */
  readonly ended = new Set<string>();
  readonly written = new Set<string>();
  readonly upkeep: NodeUpkeep;
  listed = 0;
  /** What the last list had, and what the next one will have. */
  seen = new Map<string, ReturnType<typeof runtimePod>>();
  inRuntime = new Map<string, ReturnType<typeof runtimePod>>();
  onList = (): void => {};
  readonly #running: Promise<void>;

  constructor() {
    const around = {
      base: {
        clock: this.clock,
        log: silentLog,
        cri: {
          runtime: {
            listPodSandbox: async () => ({ items: [] }),
            removeContainer: async ({ containerId }: { containerId: string }) =>
              Promise.resolve(this.removed.push(containerId)),
            stopPodSandbox: async () => {},
            removePodSandbox: async () => {},
          },
        },
        containerLogsDir: '/nowhere',
        config: {
          podLogsDir: '/nowhere',
          logFiles: { maxFiles: 5, maxSize: '10Mi', monitorMs: 2 ** 30 },
        } as unknown as KubeletBase['config'],
      },
      view: {
        pods: this.seen,
        relist: async () => {
          this.listed++;
          this.onList();
          return Promise.resolve(this.inRuntime);
        },
      },
      workers: {
        hasLeftOvers: (configured: ReadonlySet<string>, pods: ReadonlyMap<string, unknown>) =>
          left(configured, pods).length > 0,
        housekeep: (configured: ReadonlySet<string>, pods: ReadonlyMap<string, unknown>) =>
          this.missed.push(left(configured, pods)),
        uids: () => [],
        isAlive: () => false,
        state: (uid: string) => (this.ended.has(uid) ? { kind: 'finished' } : undefined),
      },
      table: {
        all: () => this.uids.map((uid) => ({ metadata: { uid } })),
        get: (uid: string) =>
          this.uids.includes(uid) ? { metadata: { uid }, status: {} } : undefined,
      },
      volumes: { known: async () => [] },
      cgroups: {
        known: async () => {
          this.asked.push('cgroups');
          return Promise.resolve([...this.cgroups]);
        },
        remove: async (uid: string) => {
          if (uid === this.stuck) throw new Error(`${uid} is busy`);
          return Promise.resolve(this.cgroups.delete(uid));
        },
      },
      status: { forget: () => {}, isWritten: (uid: string) => this.written.has(uid) },
      logFolders: { known: async () => [] },
      isReady: () => true,
    };
    this.upkeep = new NodeUpkeep(around as unknown as NodeUpkeepOptions);
    this.#running = this.upkeep.run(this.stop.signal);
  }

  async end(): Promise<void> {
    this.stop.abort();
    await this.clock.advance(0);
    await this.#running;
  }
}

describe('the look of each two seconds', () => {
  it('lists the runtime only where the last list has a pod that no source has', async () => {
    const on = new Scene();
    on.uids.push('a');
    on.seen.set('a', runtimePod({ uid: 'a' }));
    await on.clock.advance(58_000);
    expect(on.listed).toBe(0);
    expect(on.missed).toHaveLength(29);
    await on.end();
  });

  it('ends by a list that is younger', async () => {
    const on = new Scene();
    on.seen.set('ended', runtimePod({ uid: 'ended' })).set('left', runtimePod({ uid: 'left' }));
    on.inRuntime.set('left', runtimePod({ uid: 'left' }));
    await on.clock.advance(2000);
    expect(new Set(on.missed.flat())).toEqual(new Set(['left']));
    await on.end();
  });

  it('takes a pod that came while the runtime was listed for one that a source has', async () => {
    const on = new Scene();
    on.seen.set('new', runtimePod({ uid: 'new' }));
    on.inRuntime.set('new', runtimePod({ uid: 'new' }));
    on.onList = () => void on.uids.push('new');
    await on.clock.advance(2000);
    expect(on.missed).toEqual([[]]);
    await on.end();
  });

  it('removes cgroups of pods that are gone: those of earlier agents, and when a pod has gone', async () => {
    const on = new Scene();
    on.uids.push('a', 'b');
    for (const uid of ['a', 'b', 'earlier', 'running']) on.cgroups.add(uid);
    on.inRuntime.set('running', runtimePod({ uid: 'running' }));
    await on.clock.advance(2000);
    expect([...on.cgroups]).toEqual(['a', 'b', 'running']);
    await on.clock.advance(50_000);
    expect(on.asked).toHaveLength(1);
    on.uids.pop();
    await on.clock.advance(2000);
    expect([...on.cgroups]).toEqual(['a', 'running']);
    await on.clock.advance(120_000);
    expect(on.asked).toHaveLength(4);
    await on.end();
  });

  it('removes cgroups of other pods where one cannot be', async () => {
    const on = new Scene();
    for (const uid of ['first', 'stuck', 'last']) on.cgroups.add(uid);
    on.stuck = 'stuck';
    await on.clock.advance(2000);
    expect([...on.cgroups]).toEqual(['stuck']);
    on.stuck = '';
    await on.clock.advance(60_000);
    expect([...on.cgroups]).toEqual([]);
    await on.end();
  });
});

describe('where room is wanted', () => {
  it('containers stay until the API server knows how their pod ended', async () => {
    const on = new Scene();
    for (const uid of ['told', 'untold']) {
      on.uids.push(uid);
      on.ended.add(uid);
      const container = runtimeContainer({ id: `${uid}-0`, state: 'exited' });
      on.inRuntime.set(uid, runtimePod({ uid, containers: [container] }));
    }
    on.written.add('told');
    await on.upkeep.removeDead();
    expect(on.removed).toEqual(['told-0']);
    on.written.add('untold');
    on.inRuntime.delete('told');
    await on.upkeep.removeDead();
    expect(on.removed).toEqual(['told-0', 'untold-0']);
    await on.end();
  });
});
