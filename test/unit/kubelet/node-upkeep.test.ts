// The look of each two seconds: what it takes for a pod that no source has any more.
import { describe, expect, it } from 'vitest';
import type { KubeletBase } from '../../../src/kubelet/kubelet.ts';
import { NodeUpkeep } from '../../../src/kubelet/node-upkeep.ts';
import type { NodeUpkeepOptions } from '../../../src/kubelet/node-upkeep.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

describe('the look of each two seconds', () => {
  it('takes a pod that came while the runtime was listed for one that a source has', async () => {
    const clock = new VirtualClock();
    const uids: string[] = [];
    const missed: (readonly string[])[] = [];
    const runtimePods = new Map();
    const around = {
      base: {
        clock,
        log: silentLog,
        cri: { runtime: { listPodSandbox: async () => ({ items: [] }) } },
        config: {
          podLogsDir: '/nowhere',
          logFiles: { maxFiles: 5, maxSize: '10Mi', monitorMs: 2 ** 30 },
        } as unknown as KubeletBase['config'],
      },
      view: {
        pods: runtimePods,
        relist: async () => {
          uids.push(`pod-${uids.length}`);
          return Promise.resolve(runtimePods);
        },
      },
      workers: {
        housekeep: (configured: ReadonlySet<string>) =>
          missed.push(uids.filter((uid) => !configured.has(uid))),
        uids: () => [],
      },
      table: { all: () => uids.map((uid) => ({ metadata: { uid } })), get: () => undefined },
      volumes: { known: async () => [] },
      cgroups: { known: async () => [] },
      status: { forget: () => {} },
      isReady: () => true,
    };
    const upkeep = new NodeUpkeep(around as unknown as NodeUpkeepOptions);
    const stop = new AbortController();
    const running = upkeep.run(stop.signal);
    await clock.advance(2000);
    expect(missed).toEqual([[]]);
    stop.abort();
    await clock.advance(0);
    await running;
  });
});
