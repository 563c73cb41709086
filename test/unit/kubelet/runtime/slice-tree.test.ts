/** Cgroups of pods where systemd has the tree: a stand-in makes and removes the folders that stand for the kernel's. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CgroupTree } from '../../../../src/host/cgroups.ts';
import type { CgroupLimits } from '../../../../src/host/cgroups.ts';
import { BusRefusal } from '../../../../src/host/system-bus.ts';
import { OwnCgroups } from '../../../../src/kubelet/runtime/cgroups.ts';
import { systemdSlice } from '../../../../src/kubelet/runtime/slice-names.ts';
import { SliceTree } from '../../../../src/kubelet/runtime/slice-tree.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';
import { container, pod } from './made-pods.ts';
import { settings } from './settings.ts';

let mount: string;
let asked: string[];
/** What each was last given. */
let given: Map<string, CgroupLimits | undefined>;
/** Whether systemd does what it has taken note of. */
let isQuick: boolean;
/** What comes of a call before systemd takes it. */
let onCall: () => Promise<void>;
let warnings: string[];
let clock: VirtualClock;

beforeEach(() => {
  mount = ownFolder('switchyard-slices');
  asked = [];
  given = new Map();
  isQuick = true;
  onCall = async () => {};
  warnings = [];
  clock = new VirtualClock();
});

afterEach(() => rmSync(mount, { recursive: true, force: true }));

/** The folder of a slice by its name: each level is in the one above. */
function place(unit: string): string {
  const names = basename(unit, '.slice').split('-');
  return join(mount, systemdSlice('/', names.join('/')));
}

const slices = {
  start: async (unit: string, limits: CgroupLimits | undefined) => {
    if (asked.includes(`start ${unit}`)) throw new Error('UnitExists');
    asked.push(`start ${unit}`);
    await onCall();
    given.set(unit, limits);
    if (isQuick) mkdirSync(place(unit), { recursive: true });
  },
  limit: async (unit: string, limits: CgroupLimits) => {
    asked.push(`limit ${unit}`);
    await onCall();
    given.set(unit, limits);
  },
  stop: async (unit: string) => {
    asked.push(`stop ${unit}`);
    await onCall();
    if (isQuick) rmSync(place(unit), { recursive: true });
  },
};

const log = { ...silentLog, warn: (_: object, text: string) => void warnings.push(text) };

function tree(root = '/', version: 1 | 2 = 2): SliceTree {
  const kernels = new CgroupTree({ version, root: '', mount }, clock);
  return new SliceTree({ root, slices, tree: kernels, clock, log });
}

const cgroups = (version: 1 | 2 = 2): OwnCgroups =>
  new OwnCgroups(tree('/', version), {
    ...settings,
    pidsLimit: 64n,
    cgroup: { ...settings.cgroup, version, driver: 'systemd', root: '/' },
  });

/** Has the clock go on until the work is done. */
async function inTime<T>(work: Promise<T>): Promise<T> {
  let isDone = false;
  const done = work.finally(() => (isDone = true));
  done.catch(() => {});
  await vi.waitFor(async () => {
    await clock.advance(6000);
    expect(isDone).toBe(true);
  });
  return done;
}

const uid = '0b5c1f9e-7d1a-4c5e-9a55-3f2f6f1f0a11';
const slice = 'kubepods-burstable-pod0b5c1f9e_7d1a_4c5e_9a55_3f2f6f1f0a11.slice';

function asking(limits: Readonly<Record<string, string>>): ReturnType<typeof pod> {
  const requests = { cpu: '100m', memory: '16Mi' };
  return pod({ containers: [container('app', { resources: { limits, requests } })] }, { uid });
}

describe('a pod', () => {
  it('has a slice with its limits, below those of its class', async () => {
    const own = cgroups();
    const of = asking({ cpu: '500m', memory: '64Mi' });
    await own.ensure(of, false);
    expect(asked).toEqual([
      'start kubepods.slice',
      'start kubepods-besteffort.slice',
      'start kubepods-burstable.slice',
      'limit kubepods-burstable.slice',
      `start ${slice}`,
    ]);
    expect(given.get(slice)).toEqual({
      cpuShares: 102n,
      cpuPeriodUs: 100_000n,
      cpuQuotaUs: 50_000n,
      memoryBytes: 64n * 1024n ** 2n,
      pids: 64n,
    });
    expect(own.parent(of)).toBe(`/kubepods.slice/kubepods-burstable.slice/${slice}`);
    expect(await own.exists(of)).toBe(true);
  });

  it('begins beside others of its class', async () => {
    const own = cgroups();
    const pods = ['a', 'b', 'c'].map((each) => pod({}, { uid: each }));
    await Promise.all(pods.map(async (each) => own.ensure(each, false)));
    expect(await own.known()).toEqual(['a', 'b', 'c']);
  });

  it('is told of once, and again where its limits are others', async () => {
    const own = cgroups();
    await own.ensure(asking({ memory: '64Mi' }), false);
    asked.length = 0;
    await own.ensure(asking({ memory: '64Mi' }), true);
    expect(asked).toEqual([]);
    await own.ensure(asking({ memory: '96Mi' }), true);
    expect(asked).toEqual([`limit ${slice}`]);
  });

  it('keeps what it has while it is up, where it is to have less', async () => {
    const own = cgroups();
    await own.ensure(asking({ memory: '64Mi' }), false);
    writeFileSync(join(place(slice), 'memory.max'), `${64 * 1024 ** 2}\n`);
    writeFileSync(join(place(slice), 'cpu.max'), 'max 100000\n');
    await own.ensure(asking({ memory: '32Mi' }), true);
    expect(given.get(slice)?.memoryBytes).toBe(64n * 1024n ** 2n);
    await own.ensure(asking({ memory: '32Mi' }), false);
    expect(given.get(slice)?.memoryBytes).toBe(32n * 1024n ** 2n);
  });

  it('that is up is asked for its limits no more once they are known to be what they are to be', async () => {
    const own = cgroups();
    const of = asking({ memory: '32Mi' });
    await own.ensure(of, false);
    for (let i = 0; i < 2; i++) await own.ensure(of, true);
    asked.length = 0;
    // Raised by hand: what is up may have it.
    writeFileSync(join(place(slice), 'memory.max'), `${64 * 1024 ** 2}\n`);
    await own.ensure(of, true);
    expect(asked).toEqual([]);
    await own.ensure(asking({ memory: '48Mi' }), true);
    expect(given.get(slice)?.memoryBytes).toBe(64n * 1024n ** 2n);
    rmSync(place(slice), { recursive: true });
    asked.length = 0;
    await own.ensure(of, true);
    expect(asked).toEqual([`start ${slice}`]);
    // Begun anew with other limits, it has not what it was asked to have before.
    rmSync(place(slice), { recursive: true });
    asked.length = 0;
    await own.ensure(asking({ memory: '96Mi' }), true);
    await own.ensure(of, false);
    expect(given.get(slice)?.memoryBytes).toBe(32n * 1024n ** 2n);
  });

  it('that an earlier agent has left is known by its UID, and its slice is removed', async () => {
    await cgroups().ensure(asking({}), false);
    const later = cgroups();
    expect(await later.known()).toEqual([uid]);
    asked.length = 0;
    await later.remove(uid);
    expect(asked).toEqual([`stop ${slice}`]);
    expect(existsSync(place(slice))).toBe(false);
    expect(await later.known()).toEqual([]);
    await later.remove(uid);
    expect(asked).toEqual([`stop ${slice}`]);
  });
});

describe('where systemd does not answer', () => {
  const silentMs = 25_000;
  const silent = async (): Promise<void> => {
    await clock.sleep(silentMs);
    throw new Error('the connection to the bus was closed');
  };
  /** What comes of it when the one call has not been answered. */
  const afterSilence = async <T>(work: Promise<T>): Promise<T> => {
    work.catch(() => {});
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    await clock.advance(silentMs);
    return work;
  };
  const classes = ['kubepods-burstable.slice', 'kubepods-besteffort.slice'];
  const others = ['a', 'b', 'c'];

  beforeEach(async () => {
    const own = cgroups();
    await own.ensure(asking({ memory: '64Mi' }), false);
    for (const each of others) await own.ensure(pod({}, { uid: each }), false);
    asked.length = 0;
    given.clear();
  });

  it('pods that an earlier agent has begun go on: one waits, and it is said once', async () => {
    onCall = silent;
    const own = cgroups();
    await afterSilence(
      Promise.all([
        own.ensure(asking({ memory: '64Mi' }), true),
        ...others.map(async (each) => own.ensure(pod({}, { uid: each }), true)),
      ]),
    );
    expect(asked).toHaveLength(1);
    expect(warnings).toEqual([
      'kubepods-besteffort.slice stands, but not with its limits, which are given again later: the connection to the bus was closed',
    ]);
  });

  it('all limits are given once it does', async () => {
    onCall = silent;
    const own = cgroups();
    await afterSilence(own.ensure(asking({ memory: '64Mi' }), true));
    await clock.advance(silentMs);
    onCall = async () => {};
    await own.ensure(asking({ memory: '64Mi' }), true);
    expect([...given.keys()].toSorted()).toEqual([...classes, slice].toSorted());
    asked.length = 0;
    await own.ensure(asking({ memory: '64Mi' }), true);
    expect(asked).toEqual([]);
  });

  it('one that it refuses is no reason to leave out the others', async () => {
    const own = cgroups();
    const call = {
      destination: 'd',
      path: '/',
      interface: 'org.freedesktop.systemd1.Manager',
      member: 'SetUnitProperties',
    };
    onCall = async () => {
      if (asked.at(-1)?.includes('besteffort.slice') !== true) return;
      throw new BusRefusal(call, 'org.freedesktop.systemd1.NoSuchUnit');
    };
    await own.ensure(asking({ memory: '64Mi' }), true);
    expect([...given.keys()].toSorted()).toEqual([slice, 'kubepods-burstable.slice']);
    expect(warnings).toEqual([expect.stringContaining('NoSuchUnit')]);
  });

  it('what it has to begin or end fails, at once after the first', async () => {
    onCall = silent;
    const own = tree();
    await expect(afterSilence(own.make('/new', undefined))).rejects.toThrow('was closed');
    asked.length = 0;
    await expect(own.make('/newer', undefined)).rejects.toThrow('was closed');
    await expect(own.remove('/kubepods/besteffort/poda')).rejects.toThrow('was closed');
    expect(asked).toEqual([]);
  });

  it('who waits for its turn leaves with its signal', async () => {
    onCall = silent;
    const own = tree();
    const first = own.make('/new', undefined, {});
    first.catch(() => {});
    const stop = new AbortController();
    const second = own.make('/newer', undefined, { signal: stop.signal });
    stop.abort(new Error('stopped'));
    await expect(second).rejects.toThrow('stopped');
    await expect(afterSilence(first)).rejects.toThrow('was closed');
  });
});

describe('a slice goes', () => {
  it('that systemd knows nothing of, or does not end within its time', async () => {
    await cgroups().ensure(asking({}), false);
    isQuick = false;
    mkdirSync(join(place(slice), 'x.scope'));
    await inTime(cgroups().remove(uid));
    expect(existsSync(place(slice))).toBe(false);
    expect(existsSync(place('kubepods-burstable.slice'))).toBe(true);
  });

  it('with the folders that a runtime has made for other controllers of version 1', async () => {
    const below = `kubepods.slice/kubepods-burstable.slice/${slice}`;
    for (const controller of ['cpuset', 'freezer']) {
      mkdirSync(join(mount, controller, below), { recursive: true });
    }
    const own = cgroups(1);
    expect(await own.known()).toEqual([uid]);
    await own.remove(uid);
    expect(await own.known()).toEqual([]);
    expect(asked.filter((each) => each.startsWith('stop'))).toEqual([]);
  });
});

it('knows those whose names cannot stand for another, and no unit of anybody else', async () => {
  const below = join(mount, 'n1.slice/n1-kubepods.slice');
  for (const name of [
    'n1-kubepods-podab12.slice',
    'n1-kubepods-poda_b.slice',
    'x.scope',
    'n1-a.slice',
  ]) {
    mkdirSync(join(below, name), { recursive: true });
  }
  expect(await tree('/n1').children('/kubepods')).toEqual(['podab12']);
});

it('says what systemd does not do', async () => {
  isQuick = false;
  let said: string | undefined;
  void tree()
    .make('/kubepods', undefined)
    .catch((error: unknown) => (said = String(error)));
  await vi.waitFor(async () => {
    await clock.advance(6000);
    expect(said).toContain('systemd has not made /kubepods.slice within 5 s');
  });
});
