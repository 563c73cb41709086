// Which pod is ended when a node is short of something, or a pod uses more storage than it may; and what is said of it.
import { describe, expect, it } from 'vitest';
import { evictionThresholds } from '../../../../src/config/eviction-config.ts';
import { Evictor } from '../../../../src/kubelet/eviction/evictor.ts';
import type { EvictorOptions } from '../../../../src/kubelet/eviction/evictor.ts';
import { PressureWatch } from '../../../../src/kubelet/node/pressure-watch.ts';
import type { NodeReadings } from '../../../../src/kubelet/node/node-readings.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import type { ContainerDisk, PodUsage } from '../../../../src/kubelet/ports/pod-usage.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { VirtualClock, settle } from '../../proxy/virtual-clock.ts';
import { container, pod } from '../support/pods.ts';

const mib = 1024 ** 2;
const never = new AbortController().signal;

type Readings = Omit<NodeReadings, 'problems'>;

interface Asked {
  readonly memory?: string;
  readonly storage?: string;
  readonly priority?: number;
  readonly limit?: string;
}

/** A pod of one container. */
function asking(uid: string, { memory, storage, priority, limit }: Asked = {}): Pod {
  const requests = {
    ...(memory === undefined ? {} : { memory }),
    ...(storage === undefined ? {} : { 'ephemeral-storage': storage }),
  };
  const limits = limit === undefined ? {} : { limits: { 'ephemeral-storage': limit } };
  const containers = [container({ resources: { requests, ...limits } })];
  return pod({ containers, ...(priority === undefined ? {} : { priority }) }, { uid, name: uid });
}

interface Used {
  readonly memoryMib?: number;
  readonly layerMib?: number;
  readonly logsMib?: number;
  readonly processes?: number;
  /** By name; in MiB. */
  readonly volumes?: Readonly<Record<string, number>>;
}

function using(uid: string, of: Used): PodUsage {
  const { memoryMib, layerMib, logsMib, processes, volumes = {} } = of;
  const space = (size: number | undefined) =>
    size === undefined ? undefined : { bytes: size * mib, inodes: size };
  const memoryBytes = memoryMib === undefined ? undefined : memoryMib * mib;
  const app: ContainerDisk = { memoryBytes, layer: space(layerMib), logs: space(logsMib) };
  const sizes = Object.entries(volumes).map(([name, size]) => {
    return [name, { bytes: size * mib, inodes: 1, inMemory: name.startsWith('memory') }] as const;
  });
  return {
    uid,
    name: uid,
    namespace: 'shop',
    memoryBytes,
    processes,
    containers: new Map([['app', app]]),
    volumes: new Map(sizes),
    disk: { bytes: 0, inodes: 0 },
  };
}

class Scene {
  readonly clock = new VirtualClock();
  readonly told: string[] = [];
  readonly ended: { uid: string; graceSeconds: number; isDisruption?: boolean | undefined }[] = [];
  readonly counted: string[] = [];
  readonly usages = new Map<string, PodUsage>();
  pods: Pod[] = [];
  readings: Readings = {
    memory: undefined,
    disk: undefined,
    imageDisk: undefined,
    processes: undefined,
  };
  reclaimed = 0;
  reclaim: () => void = () => {};
  readonly #thresholds: Parameters<typeof evictionThresholds>[0];

  constructor(thresholds: Partial<Parameters<typeof evictionThresholds>[0]> = {}) {
    this.#thresholds = { hard: {}, soft: {}, graceMs: {}, reclaim: {}, ...thresholds };
  }

  has(of: Pod, used: Used): void {
    this.pods.push(of);
    this.usages.set(of.metadata.uid, using(of.metadata.uid, used));
  }

  memory(availableMib: number): void {
    this.readings = {
      ...this.readings,
      memory: { total: 1000 * mib, available: availableMib * mib },
    };
  }

  disk(availableMib: number, freeInodes = 1000): void {
    const disk = {
      bytes: 1000 * mib,
      availableBytes: availableMib * mib,
      inodes: 1000,
      freeInodes,
    };
    this.readings = { ...this.readings, disk };
  }

  evictor(more: Partial<EvictorOptions> = {}): Evictor {
    const thresholds = evictionThresholds(this.#thresholds);
    return new Evictor({
      watch: new PressureWatch({ thresholds, maxPodGraceSeconds: 0, transitionMs: 0 }),
      maxPodGraceSeconds: 0,
      countsLocalStorage: true,
      read: async () => Promise.resolve(this.readings),
      usage: { podUsages: async () => Promise.resolve(this.usages) },
      pods: () => this.pods,
      isGone: (uid) => !this.pods.some(({ metadata }) => metadata.uid === uid),
      end: (uid, { graceSeconds, forced }) => {
        this.pods = this.pods.filter(({ metadata }) => metadata.uid !== uid);
        this.ended.push({ uid, graceSeconds, isDisruption: forced.isDisruption });
        this.told.push(`${forced.reason}: ${forced.message}`);
      },
      reclaimDisk: async () => {
        this.reclaimed += 1;
        this.reclaim();
        return Promise.resolve();
      },
      events: {
        tell: (of, { type, reason, message }) =>
          void this.told.push(`${type} ${of.metadata.name} ${reason} ${message}`),
        ofNode: { tell: (type, reason, text) => void this.told.push(`${type} ${reason} ${text}`) },
      },
      evicted: (signal) => void this.counted.push(signal),
      clock: this.clock,
      log: silentLog,
      ...more,
    });
  }

  get order(): readonly string[] {
    return this.ended.map(({ uid }) => uid);
  }
}

const short = { hard: { 'memory.available': '100Mi' } };

describe('a node that is short of memory', () => {
  it('ends one pod a turn, and says why in the words of Kubernetes', async () => {
    const scene = new Scene(short);
    scene.has(asking('a', { memory: '10Mi' }), { memoryMib: 30 });
    scene.has(asking('b', { memory: '10Mi' }), { memoryMib: 20 });
    scene.memory(50);
    await scene.evictor().turn(never);
    const message =
      'The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container app was using 30Mi, request is 10Mi, has larger consumption of memory. ';
    expect(scene.told).toEqual([
      'Warning EvictionThresholdMet Attempting to reclaim memory',
      `Warning a Evicted ${message}`,
      `Evicted: ${message}`,
    ]);
    expect(scene.ended).toEqual([{ uid: 'a', graceSeconds: 1, isDisruption: true }]);
    expect(scene.counted).toEqual(['memory.available']);
  });

  it('ends nobody while there is enough, nor for what was not read', async () => {
    const scene = new Scene(short);
    scene.has(asking('a'), { memoryMib: 30 });
    await scene.evictor().turn(never);
    scene.memory(100);
    await scene.evictor().turn(never);
    scene.readings = { ...scene.readings, memory: { total: 0, available: 0 } };
    await scene.evictor().turn(never);
    expect([scene.ended, scene.told]).toEqual([[], []]);
  });

  it('takes those above their request first, then by priority, then by how much they are above', async () => {
    const scene = new Scene(short);
    scene.has(asking('within', { memory: '1Gi', priority: -5 }), { memoryMib: 500 });
    scene.has(asking('important', { priority: 10 }), { memoryMib: 400 });
    scene.has(asking('much', { memory: '50Mi' }), { memoryMib: 130 });
    scene.has(asking('more'), { memoryMib: 90 });
    scene.has(asking('little'), { memoryMib: 10 });
    scene.memory(1);
    const evictor = scene.evictor();
    for (let turn = 0; turn < 6; turn += 1) await evictor.turn(never);
    expect(scene.order).toEqual(['more', 'much', 'little', 'important', 'within']);
  });

  it('leaves critical pods, those of files, and those of which nothing is known', async () => {
    const scene = new Scene(short);
    const annotations = { 'kubernetes.io/config.source': 'file' };
    scene.has(pod({}, { uid: 'file', annotations }), { memoryMib: 100 });
    scene.has(asking('system', { priority: 2_000_001_000 }), { memoryMib: 100 });
    scene.has(asking('unknown'), {});
    scene.has(asking('nonsense'), { memoryMib: Number.NaN });
    scene.has(asking('negative'), { memoryMib: -5 });
    scene.memory(1);
    await scene.evictor().turn(never);
    expect(scene.order).toEqual([]);
    expect(scene.told).toEqual(['Warning EvictionThresholdMet Attempting to reclaim memory']);
  });

  it('waits with the next turn until the pod has gone, or for half a minute', async () => {
    const scene = new Scene(short);
    scene.has(asking('a'), { memoryMib: 30 });
    scene.memory(1);
    let gone = false;
    let isOver = false;
    const wait = async (): Promise<void> => {
      await scene.evictor({ isGone: () => gone }).turn(never);
      isOver = true;
    };
    const turn = wait();
    await settle();
    await scene.clock.advance(5000);
    expect(isOver).toBe(false);
    gone = true;
    await scene.clock.advance(200);
    await turn;
    expect(isOver).toBe(true);
  });
});

describe('a soft threshold', () => {
  const soft = { soft: { 'memory.available': '10%' }, graceMs: { 'memory.available': 30_000 } };

  it('ends a pod once it was met for as long, with grace', async () => {
    const scene = new Scene(soft);
    scene.has(asking('a'), { memoryMib: 30 });
    scene.memory(50);
    const evictor = scene.evictor({ maxPodGraceSeconds: 7 });
    await evictor.turn(never);
    await scene.clock.advance(29_999);
    await evictor.turn(never);
    expect(scene.ended).toEqual([]);
    await scene.clock.advance(1);
    await evictor.turn(never);
    expect(scene.ended).toEqual([{ uid: 'a', graceSeconds: 7, isDisruption: true }]);
    expect(scene.told[1]).toContain('Threshold quantity: 100Mi, available: 50Mi. ');
  });

  it.for([
    [60, 30],
    [-1, 30],
    [0, 0],
  ] as const)('gives no more than the pod asks for: of %i seconds %i', async ([most, given]) => {
    const scene = new Scene({ ...soft, graceMs: {} });
    scene.has(asking('a'), { memoryMib: 30 });
    scene.memory(50);
    await scene.evictor({ maxPodGraceSeconds: most }).turn(never);
    expect(scene.ended[0]?.graceSeconds).toBe(given);
  });
});

describe('a disk that is short', () => {
  const hard = { 'nodefs.available': '10%', 'nodefs.inodesFree': '5%' };

  it('is relieved of what nobody uses first, and of a pod only where that was too little', async () => {
    const scene = new Scene({ hard });
    scene.has(asking('a'), { layerMib: 10, logsMib: 5 });
    scene.disk(50);
    scene.reclaim = () => scene.disk(500);
    await scene.evictor().turn(never);
    expect([scene.reclaimed, scene.ended.length]).toEqual([1, 0]);
    scene.reclaim = () => scene.disk(60);
    scene.disk(50);
    await scene.evictor().turn(never);
    expect(scene.order).toEqual(['a']);
    expect(scene.told.at(-1)).toBe(
      'Evicted: The node was low on resource: ephemeral-storage. Threshold quantity: 100Mi, available: 60Mi. Container app was using 15Mi, request is 0, has larger consumption of ephemeral-storage. ',
    );
  });

  it('goes on with a pod where nothing could be removed', async () => {
    const scene = new Scene({ hard });
    scene.has(asking('a'), { layerMib: 10 });
    scene.disk(50);
    scene.reclaim = () => {
      throw new Error('the runtime is away');
    };
    await scene.evictor().turn(never);
    expect(scene.order).toEqual(['a']);
  });

  it('goes on until there is as much more as is to be reclaimed', async () => {
    const scene = new Scene({ hard, reclaim: { 'nodefs.available': '50Mi' } });
    scene.has(asking('a'), { layerMib: 10 });
    scene.has(asking('b'), { layerMib: 9 });
    scene.disk(50);
    const evictor = scene.evictor();
    await evictor.turn(never);
    scene.disk(149);
    await evictor.turn(never);
    scene.has(asking('c'), { layerMib: 9 });
    scene.disk(150);
    await evictor.turn(never);
    expect(scene.order).toEqual(['a', 'b']);
  });

  it('counts layers, logs and volumes, and of volumes those on disk', async () => {
    const scene = new Scene({ hard });
    scene.has(asking('memory'), { layerMib: 1, volumes: { 'memory-1': 900 } });
    scene.has(asking('volume'), { layerMib: 1, volumes: { data: 50 } });
    scene.has(asking('logs', { storage: '10Mi' }), { layerMib: 1, logsMib: 58 });
    scene.disk(10);
    const evictor = scene.evictor();
    for (let turn = 0; turn < 3; turn += 1) await evictor.turn(never);
    expect(scene.order).toEqual(['volume', 'logs', 'memory']);
  });

  it('with another disk for images, counts what lies on which', async () => {
    const scene = new Scene({ hard: { ...hard, 'imagefs.available': '10%' } });
    scene.has(asking('layers'), { layerMib: 500, logsMib: 1 });
    scene.has(asking('logs'), { layerMib: 1, logsMib: 100 });
    scene.disk(10);
    scene.readings = { ...scene.readings, hasImageDisk: true };
    await scene.evictor().turn(never);
    expect([scene.order, scene.reclaimed]).toEqual([['logs'], 0]);
    scene.disk(500);
    const imageDisk = { bytes: 100, availableBytes: 1, inodes: 0, freeInodes: 0 };
    scene.readings = { ...scene.readings, imageDisk };
    await scene.evictor().turn(never);
    expect([scene.order, scene.reclaimed]).toEqual([['logs', 'layers'], 1]);
  });

  it('of files: the pod with the most goes', async () => {
    const scene = new Scene({ hard });
    scene.has(asking('few'), { layerMib: 1 });
    scene.has(asking('many'), { layerMib: 90 });
    scene.disk(500, 10);
    await scene.evictor().turn(never);
    expect(scene.order).toEqual(['many']);
    expect(scene.told.at(-1)).toBe(
      'Evicted: The node was low on resource: inodes. Threshold quantity: 50, available: 10. ',
    );
  });
});

it('a node that is short of processes ends by priority, then by how many there are', async () => {
  const scene = new Scene({ hard: { 'pid.available': '10' } });
  scene.has(asking('important', { priority: 5 }), { processes: 90 });
  scene.has(asking('few'), { processes: 3 });
  scene.has(asking('many'), { processes: 30 });
  scene.readings = { ...scene.readings, processes: { most: 1000, now: 995 } };
  const evictor = scene.evictor();
  for (let turn = 0; turn < 3; turn += 1) await evictor.turn(never);
  expect(scene.order).toEqual(['many', 'few', 'important']);
  expect(scene.told[1]).toContain(
    'The node was low on resource: pids. Threshold quantity: 10, available: 5. ',
  );
});

/** A pod with an emptyDir of a size. */
function sized(sizeLimit: string, uid = 'a'): Pod {
  return pod({ volumes: [{ name: 'v', emptyDir: { sizeLimit } }] }, { uid, name: uid });
}

/** A pod of two containers with limits, and a volume. */
function two(first: string, second: string | undefined, uid = 'a'): Pod {
  const other = second === undefined ? {} : { limits: { 'ephemeral-storage': second } };
  const containers = [
    container({ resources: { limits: { 'ephemeral-storage': first } } }),
    container({ name: 'other', resources: other }),
  ];
  return pod({ containers, volumes: [{ name: 'v', emptyDir: {} }] }, { uid, name: uid });
}

describe('limits of storage', () => {
  it.for([
    [
      'an emptyDir',
      sized('1Mi'),
      { volumes: { v: 2 } },
      'Usage of EmptyDir volume "v" exceeds the limit "1Mi". ',
    ],
    [
      'a container',
      two('10Mi', '1Gi'),
      { layerMib: 6, logsMib: 5 },
      'Container app exceeded its local ephemeral storage limit "10Mi". ',
    ],
    [
      'all of a pod',
      two('10Mi', '5Mi'),
      { layerMib: 6, volumes: { v: 10 } },
      'Pod ephemeral local storage usage exceeds the total limit of containers 15Mi. ',
    ],
    [
      'the only limit of a pod',
      two('10Mi', undefined),
      { volumes: { v: 11 } },
      'Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. ',
    ],
  ] as const)(
    '%s above its limit ends the pod, which is no disruption',
    async ([, of, used, message]) => {
      const scene = new Scene();
      scene.has(of, used);
      scene.has(asking('b', { limit: '10Mi' }), { layerMib: 10 });
      await scene.evictor().turn(never);
      expect(scene.told).toEqual([`Warning a Evicted ${message}`, `Evicted: ${message}`]);
      expect(scene.ended).toEqual([{ uid: 'a', graceSeconds: 1, isDisruption: undefined }]);
    },
  );

  it('hold nobody who is within them, of whom nothing is known, or whose limit is of nothing', async () => {
    const scene = new Scene();
    scene.has(sized('2Mi'), { volumes: { v: 2 } });
    scene.has(sized('0', 'b'), { volumes: { v: 2 } });
    scene.has(two('10Mi', '5Mi', 'c'), { layerMib: 9, volumes: { v: 6, 'memory-2': 99 } });
    scene.pods.push(asking('unknown', { limit: '1' }));
    await scene.evictor().turn(never);
    expect(scene.ended).toEqual([]);
  });

  it('are not looked at where local storage is not counted, nor of critical pods', async () => {
    const scene = new Scene();
    scene.has(asking('system', { priority: 2_000_000_000, limit: '1Mi' }), { layerMib: 5 });
    await scene.evictor().turn(never);
    scene.has(asking('a', { limit: '1Mi' }), { layerMib: 5 });
    await scene.evictor({ countsLocalStorage: false }).turn(never);
    expect(scene.ended).toEqual([]);
    await scene.evictor().turn(never);
    expect(scene.order).toEqual(['a']);
  });
});

it('looks each ten seconds, and goes on where a reading fails', async () => {
  const scene = new Scene(short);
  scene.has(asking('a'), { memoryMib: 30 });
  scene.memory(1);
  let reads = 0;
  const stop = new AbortController();
  const running = scene
    .evictor({
      read: async () => {
        reads += 1;
        if (reads === 1) throw new Error('no');
        return Promise.resolve(scene.readings);
      },
    })
    .run(stop.signal);
  await scene.clock.advance(10_000);
  await settle();
  expect([reads, scene.ended.length]).toEqual([1, 0]);
  await scene.clock.advance(10_000);
  await settle();
  expect([reads, scene.ended.length]).toEqual([2, 1]);
  stop.abort();
  await running;
});
