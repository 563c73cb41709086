/** Cgroups of pods where systemd has the tree: a stand-in makes and removes the folders that stand for the kernel's. */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { CgroupTree } from '../../../../src/host/cgroups.ts';
import type { CgroupLimits } from '../../../../src/host/cgroups.ts';
import { OwnCgroups } from '../../../../src/kubelet/runtime/cgroups.ts';
import { systemdSlice } from '../../../../src/kubelet/runtime/slice-names.ts';
import { SliceTree } from '../../../../src/kubelet/runtime/slice-tree.ts';
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

beforeEach(() => {
  mount = ownFolder('switchyard-slices');
  asked = [];
  given = new Map();
  isQuick = true;
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
    given.set(unit, limits);
    if (isQuick) mkdirSync(place(unit), { recursive: true });
  },
  limit: async (unit: string, limits: CgroupLimits) => {
    asked.push(`limit ${unit}`);
    given.set(unit, limits);
  },
  stop: async (unit: string) => {
    asked.push(`stop ${unit}`);
    if (isQuick) rmSync(place(unit), { recursive: true });
  },
};

const clock = new VirtualClock();

function tree(root = '/'): SliceTree {
  return new SliceTree({
    root,
    slices,
    tree: new CgroupTree({ version: 2, root: '', mount }, clock),
    clock,
  });
}

const cgroups = (): OwnCgroups =>
  new OwnCgroups(tree(), {
    ...settings,
    pidsLimit: 64n,
    cgroup: { ...settings.cgroup, version: 2, driver: 'systemd', root: '/' },
  });

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
