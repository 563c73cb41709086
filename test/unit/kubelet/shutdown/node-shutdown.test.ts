// What becomes of pods when the machine is shut down: in which order they end, in what time, and how long the shutdown is held back.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ShutdownGroup } from '../../../../src/config/eviction-config.ts';
import type { HeldShutdown, ShutdownHost } from '../../../../src/host/logind.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { NodeShutdown } from '../../../../src/kubelet/shutdown/node-shutdown.ts';
import { leavingPods } from '../../../../src/kubelet/shutdown/shutdown-groups.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { VirtualClock, settle } from '../../proxy/virtual-clock.ts';
import { pod } from '../support/pods.ts';

const usual: readonly ShutdownGroup[] = [
  { priority: 0, seconds: 20 },
  { priority: 2_000_000_000, seconds: 10 },
];

function prioritised(name: string, priority?: number, terminationGracePeriodSeconds = 30): Pod {
  const more = priority === undefined ? {} : { priority };
  return pod({ terminationGracePeriodSeconds, ...more }, { uid: name, name });
}

class Machine implements ShutdownHost {
  readonly clock = new VirtualClock();
  readonly said: string[] = [];
  pods: Pod[] = [];
  alive = new Set<string>();
  isThere = true;
  /** What is told of when it begins to be followed. */
  isPreparing = false;
  allowedMs = 60_000;
  isTold = true;
  warnings: string[] = [];
  onShutdown: (begins: boolean) => void = () => {};
  lose: () => void = () => {};
  loseLock: () => void = () => {};
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  async follow(onShutdown: (begins: boolean) => void, signal: AbortSignal) {
    if (!this.isThere) throw new Error('no logind');
    this.onShutdown = onShutdown;
    onShutdown(this.isPreparing);
    const lost = new Promise<void>((resolve) => {
      this.lose = resolve;
      signal.addEventListener('abort', () => resolve());
    });
    return Promise.resolve({ lost });
  }

  async hold(): Promise<HeldShutdown> {
    this.said.push('held');
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    this.loseLock = () => resolve();
    return Promise.resolve({
      ended,
      release: async () => {
        this.said.push('released');
        resolve();
        return Promise.resolve();
      },
    });
  }

  async allow(ms: number): Promise<number> {
    this.said.push(`allow ${ms}`);
    return Promise.resolve(this.allowedMs);
  }

  start(groups = usual): void {
    const log = { ...silentLog, warn: (_: object, text: string) => void this.warnings.push(text) };
    const shutdown = new NodeShutdown({
      groups,
      host: this,
      pods: () => this.pods.filter(({ metadata }) => this.alive.has(metadata.uid)),
      isAlive: (uid) => this.alive.has(uid),
      end: (uid, { graceSeconds, forced }) =>
        void this.said.push(`${uid} ${graceSeconds} ${forced.reason}`),
      beginAnew: (uid) => void this.said.push(`${uid} anew`),
      isTold: () => this.isTold,
      tell: (is) => void this.said.push(is ? 'not ready' : 'ready'),
      clock: this.clock,
      log,
    });
    this.#running = shutdown.run(this.#stop.signal);
  }

  has(...pods: readonly Pod[]): void {
    this.pods = [...pods];
    this.alive = new Set(pods.map(({ metadata }) => metadata.uid));
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
    await settle();
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

let machine: Machine;

beforeEach(() => {
  machine = new Machine();
});

afterEach(async () => machine.end());

async function begun(groups = usual): Promise<void> {
  machine.start(groups);
  await settle();
  machine.said.length = 0;
  machine.onShutdown(true);
  await settle();
}

describe('a shutdown', () => {
  it('is held back until pods have ended: ordinary ones first, critical ones last', async () => {
    machine.has(prioritised('web'), prioritised('brief', 5, 3), prioritised('dns', 2_000_001_000));
    await begun();
    expect(machine.said).toEqual(['not ready', 'web 20 Terminated', 'brief 3 Terminated']);
    machine.alive.delete('brief');
    await machine.pass(19_000);
    expect(machine.said).toHaveLength(3);
    machine.alive.delete('web');
    await machine.pass(200);
    expect(machine.said.slice(3)).toEqual(['dns 10 Terminated']);
    machine.alive.delete('dns');
    await machine.pass(200);
    expect(machine.said.slice(4)).toEqual(['released']);
  });

  it('is held back no longer than each group has, whatever its pods do', async () => {
    machine.has(prioritised('web'), prioritised('dns', 2_000_001_000));
    await begun();
    await machine.pass(20_000);
    expect(machine.said.at(-1)).toBe('dns 10 Terminated');
    await machine.pass(10_000);
    expect(machine.said.at(-1)).toBe('released');
    expect(machine.warnings.filter((text) => text.includes('have not ended'))).toHaveLength(2);
  });

  it('is held back until the API server knows how pods have ended, in the time there is', async () => {
    machine.isTold = false;
    machine.has(prioritised('dns', 2_000_001_000));
    await begun();
    machine.alive.clear();
    await machine.pass(5000);
    expect(machine.said).not.toContain('released');
    machine.isTold = true;
    await machine.pass(200);
    expect(machine.said.at(-1)).toBe('released');
  });

  it('that is called off leaves other pods alone, and the next one is held back again', async () => {
    machine.has(prioritised('web'), prioritised('dns', 2_000_001_000));
    await begun();
    machine.onShutdown(false);
    await machine.pass(200);
    expect(machine.said).toEqual(['not ready', 'web 20 Terminated', 'ready', 'released', 'held']);
  });

  it('that is called off lets static pods that it has ended begin anew', async () => {
    const annotations = { 'kubernetes.io/config.source': 'file' };
    const proxy = pod({ terminationGracePeriodSeconds: 30 }, { uid: 'proxy', annotations });
    machine.has(prioritised('web'), proxy);
    await begun();
    machine.onShutdown(false);
    await machine.pass(200);
    expect(machine.said.slice(3)).toEqual(['ready', 'released', 'proxy anew', 'held']);
  });

  it('is not waited for where nothing says how long', async () => {
    machine.start([]);
    await settle();
    expect(machine.said).toEqual([]);
  });
});

describe('logind', () => {
  it('is asked to wait for as long as all pods have, and a lock that is lost is taken again', async () => {
    machine.allowedMs = 5000;
    machine.start();
    await settle();
    expect(machine.said).toEqual(['allow 30000', 'held']);
    expect(machine.warnings[0]).toContain('raise InhibitDelayMaxSec');
    machine.loseLock();
    await settle();
    await machine.pass(1000);
    expect(machine.said).toEqual(['allow 30000', 'held', 'held']);
  });

  it('that is not there is told of once, and looked for again', async () => {
    machine.isThere = false;
    machine.start();
    await settle();
    await machine.pass(60_000);
    await machine.pass(60_000);
    expect(machine.warnings).toEqual(['a shutdown of the machine is not waited for: no logind']);
    machine.isThere = true;
    await machine.pass(60_000);
    expect(machine.said).toEqual(['allow 30000', 'held']);
  });

  it('that goes is followed again at once, and the lock stays', async () => {
    machine.start();
    await settle();
    machine.lose();
    await settle();
    expect(machine.said).toEqual(['allow 30000', 'held', 'allow 30000']);
    machine.onShutdown(true);
    await settle();
    expect(machine.said.slice(3)).toEqual(['not ready', 'released']);
  });

  it('that goes again and again is looked for less and less often', async () => {
    machine.start();
    await settle();
    for (let times = 0; times < 20; times += 1) {
      machine.lose();
      await machine.pass(1000);
    }
    expect(machine.said.filter((text) => text.startsWith('allow')).length).toBeLessThan(8);
    expect(machine.said).not.toContain('released');
    await machine.pass(120_000);
    machine.said.length = 0;
    machine.lose();
    await settle();
    expect(machine.said).toEqual(['allow 30000']);
  });
});

describe('a shutdown during which nothing is heard for a while', () => {
  it('is held back on, and pods go on ending', async () => {
    machine.has(prioritised('web'), prioritised('dns', 2_000_001_000));
    await begun();
    machine.isThere = false;
    machine.lose();
    await machine.pass(10_000);
    expect(machine.said).toEqual(['not ready', 'web 20 Terminated']);
    machine.alive.delete('web');
    await machine.pass(200);
    machine.alive.delete('dns');
    await machine.pass(200);
    expect(machine.said.slice(2)).toEqual(['dns 10 Terminated', 'released']);
    machine.isPreparing = true;
    machine.isThere = true;
    machine.has(prioritised('dns', 2_000_001_000));
    await machine.pass(60_000);
    expect(machine.said.slice(4)).toEqual([]);
  });

  it('and that is called off meanwhile is over', async () => {
    machine.has(prioritised('web'));
    await begun();
    machine.isThere = false;
    machine.lose();
    machine.alive.clear();
    await machine.pass(5000);
    machine.isThere = true;
    await machine.pass(60_000);
    expect(machine.said.slice(2)).toEqual(['released', 'ready', 'allow 30000', 'held']);
  });

  it('and that has begun before is known at once: pods end as they come', async () => {
    machine.isPreparing = true;
    machine.start();
    await settle();
    expect(machine.said).toEqual(['not ready']);
    machine.has(prioritised('web'));
    await machine.pass(1000);
    await machine.pass(5000);
    expect(machine.said).toEqual(['not ready', 'web 20 Terminated']);
  });
});

it('pods are of the highest group that they reach, or of the lowest', () => {
  const groups = [
    { priority: 100, seconds: 1 },
    { priority: 1000, seconds: 2 },
  ];
  const pods = [5, 100, 999, 1000, 5000].map((each) => prioritised(`p${each}`, each));
  const found = leavingPods(groups, pods).map((group) =>
    group.pods.map(({ metadata }) => metadata.name),
  );
  expect(found).toEqual([
    ['p5', 'p100', 'p999'],
    ['p1000', 'p5000'],
  ]);
});
