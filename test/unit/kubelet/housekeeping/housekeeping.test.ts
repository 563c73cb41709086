import { mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Housekeeping } from '../../../../src/kubelet/housekeeping/housekeeping.ts';
import { keepIptablesChains } from '../../../../src/kubelet/housekeeping/iptables-chains.ts';
import { LogRotation } from '../../../../src/kubelet/housekeeping/log-rotation.ts';
import { OrphanedPods } from '../../../../src/kubelet/housekeeping/orphaned-pods.ts';
import type { RuntimePod } from '../../../../src/kubelet/runtime/runtime-pod.ts';
import { LogFolders } from '../../../../src/kubelet/runtime/log-folders.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';
import { runtimeContainer, runtimePod, runtimeSandbox } from '../support/runtime-pods.ts';

/** What is cleared away, when, and what never is. */

function answered<T extends string>(name: T): { readonly $typeName: `runtime.v1.${T}Response` } {
  return { $typeName: `runtime.v1.${name}Response` };
}

class Scene {
  readonly clock = new VirtualClock();
  readonly calls: string[] = [];
  readonly stop = new AbortController();
  readonly wanted = new Set<string>();
  readonly finished = new Set<string>();
  readonly ended = new Set<string>();
  readonly volumes = new Set<string>();
  /** UIDs whose volumes cannot be removed. */
  readonly stuck = new Set<string>();
  readonly complaints: string[] = [];
  pods = new Map<string, RuntimePod>();
  /** How often the runtime was listed. */
  listed = 0;
  /** What an older list had; undefined: there is none that is older. */
  seen: ReadonlyMap<string, RuntimePod> | undefined;
  readonly folder = ownFolder('switchyard-housekeeping');
  readonly logFolders = new LogFolders({
    rootDir: join(this.folder, 'root'),
    podLogsDir: join(this.folder, 'logs'),
  });
  isReady = true;
  readonly #running: Promise<void>;
  readonly housekeeping: Housekeeping;

  constructor() {
    const { clock } = this;
    const did = async (call: string): Promise<void> => {
      this.calls.push(call);
      return Promise.resolve();
    };
    const log = {
      ...silentLog,
      error: (_: object, text: string) => void this.complaints.push(text),
    };
    const orphans = new OrphanedPods({
      clock,
      log,
      volumes: {
        known: async () => Promise.resolve([...this.volumes]),
        tearDown: async (uid) => {
          if (this.stuck.has(uid)) throw new Error('busy');
          this.volumes.delete(uid);
          await did(`tearDown ${uid}`);
        },
      },
      killOrphan: async (uid, seconds) => {
        await did(`kill ${uid} ${seconds}`);
        this.pods.delete(uid);
      },
    });
    this.housekeeping = new Housekeeping({
      clock,
      log,
      orphans,
      runtime: {
        stopContainer: async ({ containerId }) => {
          await did(`stop ${containerId}`);
          return answered('StopContainer');
        },
        removeContainer: async ({ containerId }) => {
          await did(`remove ${containerId}`);
          return answered('RemoveContainer');
        },
        stopPodSandbox: async ({ podSandboxId }) => {
          await did(`stop ${podSandboxId}`);
          return answered('StopPodSandbox');
        },
        removePodSandbox: async ({ podSandboxId }) => {
          await did(`remove ${podSandboxId}`);
          return answered('RemovePodSandbox');
        },
      },
      known: () => this.seen ?? this.pods,
      relist: async () => {
        this.listed++;
        return Promise.resolve(this.pods);
      },
      isReady: () => this.isReady,
      isWanted: (uid) => this.wanted.has(uid),
      isFinished: (uid) => this.finished.has(uid),
      isEnded: (uid) => this.ended.has(uid),
      rotation: new LogRotation({
        runtime: { reopenContainerLog: async () => Promise.reject(new Error('not asked for')) },
        clock,
        log,
        maxBytes: 1,
        maxFiles: 2,
        workers: 1,
      }),
      logFolders: this.logFolders,
      linksFolder: join(this.folder, 'links'),
    });
    this.#running = this.housekeeping.run(this.stop.signal);
  }

  async end(): Promise<void> {
    this.stop.abort();
    await this.#running;
    rmSync(this.folder, { recursive: true });
  }

  /** A pod's logs, with a link to one that is gone. */
  logs(uid: string, container: string): void {
    const path = join(this.folder, 'logs', `shop_web_${uid}`);
    mkdirSync(path, { recursive: true });
    mkdirSync(join(this.folder, 'links'), { recursive: true });
    const link = `web_shop_app-${container.repeat(64)}.log`;
    symlinkSync(join(path, 'app', '0.log'), join(this.folder, 'links', link));
  }

  names(folder: string): readonly string[] {
    return readdirSync(join(this.folder, folder)).map((name) => name.slice(-5));
  }
}

test('logs of pods that are gone go, and those of other nodes and agents beside them stay', async () => {
  const on = new Scene();
  for (const [uid, container] of [
    ['uid-1', 'a'],
    ['uid-2', 'b'],
    ['uid-3', 'c'],
  ] as const) {
    on.logs(uid, container);
  }
  for (const uid of ['uid-1', 'uid-2']) {
    await on.logFolders.note({
      metadata: { name: 'web', namespace: 'shop', uid, labels: {}, annotations: {} },
    });
  }
  on.wanted.add('uid-2');
  await on.housekeeping.collect();
  expect(on.names('logs')).toEqual(['uid-2', 'uid-3']);
  expect(on.names('links')).toEqual(['c.log']);
  on.wanted.clear();
  await on.housekeeping.collect();
  expect(on.names('logs')).toEqual(['uid-3']);
  expect(await on.logFolders.known()).toEqual([]);
  await on.end();
});

test('a pod that no source has is ended, and then its volumes go', async () => {
  const on = new Scene();
  on.pods.set('uid-1', runtimePod());
  on.volumes.add('uid-1').add('uid-2');
  on.wanted.add('uid-2');
  await on.clock.advance(2_000);
  expect(on.calls).toEqual(['kill uid-1 1']);
  await on.clock.advance(2_000);
  expect(on.calls).toEqual(['kill uid-1 1', 'tearDown uid-1']);
  await on.clock.advance(10_000);
  expect(on.calls).toHaveLength(2);
  await on.end();
});

test('a pod that only an older list has is not ended, and the runtime is listed for nothing else', async () => {
  const on = new Scene();
  on.wanted.add('uid-2');
  on.volumes.add('uid-2');
  on.seen = new Map([['uid-2', runtimePod({ uid: 'uid-2' })]]);
  await on.clock.advance(59_000);
  expect(on.listed).toBe(0);
  on.seen = new Map([['uid-1', runtimePod()]]);
  await on.clock.advance(900);
  expect(on.listed).toBe(0);
  await on.clock.advance(100);
  expect(on.listed).toBeGreaterThan(0);
  expect(on.calls).toEqual([]);
  await on.end();
});

test('before every source has told of its pods nothing of an unknown pod is touched', async () => {
  const on = new Scene();
  on.isReady = false;
  const dead = { state: 'exited', logPath: '' } as const;
  on.pods.set(
    'uid-1',
    runtimePod({
      sandboxes: [runtimeSandbox({ state: 'notReady' })],
      containers: [
        runtimeContainer({ ...dead, id: 'two' }),
        runtimeContainer({ ...dead, id: 'one' }),
      ],
    }),
  );
  on.volumes.add('uid-1');
  await on.clock.advance(61_000);
  expect(on.calls).toEqual(['remove one']);
  await on.end();
});

test('volumes that cannot be removed are told of at most every five minutes', async () => {
  const on = new Scene();
  on.volumes.add('uid-1');
  on.stuck.add('uid-1');
  await on.clock.advance(290_000);
  expect(on.complaints).toEqual([
    'orphaned pod "uid-1" found, but its volumes could not be removed: busy',
  ]);
  await on.clock.advance(20_000);
  expect(on.complaints).toHaveLength(2);
  await on.end();
});

test('each minute the dead go: containers, stopped first where their state is unknown, then sandboxes', async () => {
  const on = new Scene();
  on.wanted.add('uid-1');
  on.finished.add('uid-1');
  on.pods.set(
    'uid-1',
    runtimePod({
      sandboxes: [runtimeSandbox({ state: 'notReady' })],
      containers: [
        runtimeContainer({ id: 'two', state: 'unknown' }),
        runtimeContainer({ id: 'one', state: 'exited' }),
      ],
    }),
  );
  await on.clock.advance(59_000);
  expect(on.calls).toEqual([]);
  await on.clock.advance(1_000);
  expect(on.calls).toEqual(['stop two', 'remove two', 'remove one', 'stop box', 'remove box']);
  await on.end();
});

test('the records of one pod are cleared when it is asked for', async () => {
  const on = new Scene();
  on.wanted.add('uid-1').add('uid-2');
  const records = ['three', 'two', 'one'].map((id) => runtimeContainer({ id, state: 'exited' }));
  on.pods.set('uid-1', runtimePod({ containers: records }));
  on.pods.set('uid-2', runtimePod({ uid: 'uid-2', containers: records }));
  await on.clock.advance(1);
  await on.housekeeping.collect('uid-1');
  expect(on.calls).toEqual(['remove two', 'remove one']);
  await on.end();
});

test('the chains are made in both families, and again where somebody has flushed them', async () => {
  const clock = new VirtualClock();
  const stop = new AbortController();
  const chains = new Set<string>();
  const made: string[] = [];
  const tools = {
    run: async (tool: string, args: readonly string[]) => {
      const [what, chain = ''] = args.slice(-2);
      const key = `${tool} ${args[3]} ${chain}`;
      const known = chains.has(key);
      if (what === '-N') {
        made.push(key);
        chains.add(key);
      }
      const exitCode = (what === '-N') === known ? 1 : 0;
      const stderr = exitCode === 1 ? 'iptables: Chain already exists.' : '';
      return Promise.resolve({ exitCode, stdout: '', stderr, durationMs: 1 });
    },
  };
  const keeping = keepIptablesChains({ tools, clock, log: silentLog }, stop.signal);
  await clock.advance(0);
  const all = ['iptables', 'ip6tables'].flatMap((tool) => [
    `${tool} mangle KUBE-IPTABLES-HINT`,
    `${tool} mangle KUBE-KUBELET-CANARY`,
  ]);
  expect(made).toEqual(all);
  await clock.advance(120_000);
  expect(made).toHaveLength(4);
  chains.delete('iptables mangle KUBE-KUBELET-CANARY');
  await clock.advance(60_000);
  expect(made.slice(4)).toEqual(all.slice(0, 2));
  stop.abort();
  await keeping;
});
