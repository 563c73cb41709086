import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { CgroupTree } from '../../../../src/host/cgroups.ts';
import { OwnCgroups, NamedSlices, cgroupPath } from '../../../../src/kubelet/runtime/cgroups.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';
import { container, pod } from './made-pods.ts';
import { settings } from './settings.ts';

/** Cgroups of pods, on folders that stand for the kernel's. */

let mount: string;

beforeEach(() => {
  mount = ownFolder('switchyard-cgroups');
});

afterEach(() => {
  rmSync(mount, { recursive: true, force: true });
});

const limited = {
  limits: { cpu: '500m', memory: '64Mi' },
  requests: { cpu: '250m', memory: '64Mi' },
};
const burstable = pod({ containers: [container('app', { resources: limited })] });

/** One that is Burstable whatever its limits are. */
function asking(limits: Readonly<Record<string, string>>): ReturnType<typeof pod> {
  const requests = { cpu: '100m', memory: '16Mi' };
  return pod({ containers: [container('app', { resources: { limits, requests } })] });
}

function made(version: 1 | 2, pidsLimit = 0n): OwnCgroups {
  const tree = new CgroupTree({ version, root: '/n1', mount }, new VirtualClock());
  return new OwnCgroups(tree, {
    ...settings,
    pidsLimit,
    cgroup: { ...settings.cgroup, version },
  });
}

const read = (path: string): string => readFileSync(join(mount, path), 'utf8');

test('where pods of each class go', () => {
  const guaranteed = pod({
    containers: [container('app', { resources: { limits: limited.limits } })],
  });
  expect([guaranteed, burstable, pod()].map(cgroupPath)).toEqual([
    '/kubepods/podu1',
    '/kubepods/burstable/podu1',
    '/kubepods/besteffort/podu1',
  ]);
});

test('systemd: each slice carries the names above it', () => {
  const of = pod({}, { uid: '1a-2b' });
  expect(new NamedSlices({ root: '/' }).parent(of)).toBe(
    '/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1a_2b.slice',
  );
  expect(new NamedSlices({ root: '/n1' }).parent(of)).toMatch(/^\/n1\.slice\/n1-kubepods\.slice\//);
});

test('version 1: limits by controller, the class has what its pods ask for', async () => {
  for (const name of ['cpu', 'memory', 'pids']) mkdirSync(join(mount, name));
  const cgroups = made(1);
  await cgroups.ensure(burstable, false);
  expect(cgroups.parent(burstable)).toBe('/n1/kubepods/burstable/podu1');
  expect(read('cpu/n1/kubepods/burstable/podu1/cpu.shares')).toBe('256');
  expect(read('cpu/n1/kubepods/burstable/podu1/cpu.cfs_quota_us')).toBe('50000');
  expect(read('memory/n1/kubepods/burstable/podu1/memory.limit_in_bytes')).toBe('67108864');
  expect(read('cpu/n1/kubepods/burstable/cpu.shares')).toBe('256');
  expect(read('cpu/n1/kubepods/besteffort/cpu.shares')).toBe('2');
  expect(await cgroups.exists(burstable)).toBe(true);
  expect(await cgroups.known()).toEqual(['u1']);
});

test('version 2: one tree, with weights', async () => {
  for (const at of ['', 'n1', 'n1/kubepods', 'n1/kubepods/burstable']) {
    mkdirSync(join(mount, at), { recursive: true });
    writeFileSync(join(mount, at, 'cgroup.controllers'), 'cpu memory pids\n');
    writeFileSync(join(mount, at, 'cgroup.subtree_control'), 'cpu\n');
  }
  await made(2).ensure(burstable, false);
  for (const at of ['', 'n1', 'n1/kubepods', 'n1/kubepods/burstable']) {
    expect(read(join(at, 'cgroup.subtree_control'))).toContain('+memory +pids');
  }
  expect(read('n1/kubepods/burstable/podu1/cpu.weight')).toBe('10');
  expect(read('n1/kubepods/burstable/podu1/cpu.max')).toBe('50000 100000');
  expect(read('n1/kubepods/burstable/podu1/memory.max')).toBe('67108864');
});

test('it is told how long it takes to make, change and remove them', async () => {
  for (const name of ['cpu', 'memory', 'pids']) mkdirSync(join(mount, name));
  const clock = new VirtualClock();
  const tree = new CgroupTree({ version: 1, root: '/n1', mount }, clock);
  const told: string[] = [];
  const meter = { cgroupChanged: (what: string): number => told.push(what) };
  const cgroups = new OwnCgroups(tree, settings, { meter, clock });
  const best = pod();
  await cgroups.ensure(best, false);
  // all pods, those of two classes, and its own
  expect(told.splice(0)).toEqual(['create', 'create', 'create', 'create']);
  await cgroups.ensure(best, true);
  expect(told.splice(0)).toEqual(['update']);
  rmSync(join(mount, 'cpu/n1'), { recursive: true });
  rmSync(join(mount, 'memory/n1'), { recursive: true });
  await cgroups.remove(best.metadata.uid);
  expect(told).toEqual(['destroy']);
});

test('what stands as it was asked for is neither read nor written again, what has gone is made', async () => {
  for (const name of ['cpu', 'memory', 'pids']) mkdirSync(join(mount, name));
  const clock = new VirtualClock();
  const tree = new CgroupTree({ version: 1, root: '/n1', mount }, clock);
  const told: string[] = [];
  const meter = { cgroupChanged: (what: string): number => told.push(what) };
  const cgroups = new OwnCgroups(tree, settings, { meter, clock });
  const shares = 'cpu/n1/kubepods/burstable/podu1/cpu.shares';
  await cgroups.ensure(burstable, false);
  told.length = 0;
  // By hand: nobody takes that back for ten minutes, unless something else is asked for.
  writeFileSync(join(mount, shares), '77');
  await cgroups.ensure(burstable, false);
  expect([read(shares), told]).toEqual(['77', []]);
  await cgroups.ensure(asking({ cpu: '500m' }), false);
  expect(read(shares)).toBe('102');
  await cgroups.ensure(burstable, false);
  expect(read(shares)).toBe('256');
  writeFileSync(join(mount, shares), '77');
  await clock.advance(600_000);
  await cgroups.ensure(burstable, false);
  expect(read(shares)).toBe('256');
  for (const name of ['memory', 'cpu']) {
    rmSync(join(mount, name, 'n1'), { recursive: true });
    told.length = 0;
    await cgroups.ensure(burstable, false);
    expect([read(shares), told]).toEqual(['256', ['create']]);
  }
});

test('pods that come together: their class has what they ask for together', async () => {
  for (const name of ['cpu', 'memory', 'pids']) mkdirSync(join(mount, name));
  const cgroups = made(1);
  const pods = ['a', 'b', 'c', 'd'].map((uid) => ({
    ...burstable,
    metadata: { ...burstable.metadata, uid },
  }));
  await Promise.all(pods.map(async (each) => cgroups.ensure(each, false)));
  expect(read('cpu/n1/kubepods/burstable/cpu.shares')).toBe('1024');
});

test.each([1, 2] as const)(
  'version %i: so many processes of a pod, or any number again',
  async (version) => {
    const trees = version === 1 ? ['cpu', 'memory', 'pids'] : ['.'];
    for (const tree of trees) {
      for (const at of ['', 'n1', 'n1/kubepods', 'n1/kubepods/burstable']) {
        mkdirSync(join(mount, tree, at), { recursive: true });
        writeFileSync(join(mount, tree, at, 'cgroup.controllers'), 'cpu memory pids\n');
        writeFileSync(join(mount, tree, at, 'cgroup.subtree_control'), 'cpu memory pids\n');
      }
    }
    const limit = join(trees.at(-1) ?? '', 'n1/kubepods/burstable/podu1/pids.max');
    await made(version).ensure(burstable, false);
    expect(existsSync(join(mount, limit))).toBe(false);
    await made(version, 64n).ensure(burstable, false);
    expect(read(limit)).toBe('64');
    expect(existsSync(join(mount, limit, '../../pids.max'))).toBe(false);
    await made(version).ensure(burstable, false);
    expect(read(limit)).toBe('max');
  },
);

describe.each([1, 2] as const)(
  'version %i: resources that change while something of the pod is up',
  (version) => {
    const [cpu, memory] = version === 1 ? ['cpu', 'memory'] : ['.', '.'];
    const own = 'n1/kubepods/burstable/podu1';
    const quotaFile = version === 1 ? 'cpu.cfs_quota_us' : 'cpu.max';
    const memoryFile = version === 1 ? 'memory.limit_in_bytes' : 'memory.max';
    /** Thousandths of a core and MiB; undefined: none. */
    const limits = (): readonly (number | undefined)[] => {
      const [quota, bytes] = [read(join(cpu, own, quotaFile)), read(join(memory, own, memoryFile))];
      return [Number.parseInt(quota, 10) / 100, Number(bytes) / 1024 / 1024].map((each) =>
        each > 0 && each < 1e6 ? each : undefined,
      );
    };
    beforeEach(() => {
      for (const tree of version === 1 ? ['cpu', 'memory'] : ['.']) {
        for (const at of ['', 'n1', 'n1/kubepods', 'n1/kubepods/burstable']) {
          mkdirSync(join(mount, tree, at), { recursive: true });
          writeFileSync(join(mount, tree, at, 'cgroup.controllers'), 'cpu memory\n');
          writeFileSync(join(mount, tree, at, 'cgroup.subtree_control'), 'cpu memory\n');
        }
      }
    });

    const small = { cpu: '250m', memory: '32Mi' };
    const middle = { cpu: '500m', memory: '64Mi' };
    const large = { cpu: '750m', memory: '96Mi' };
    const cases = [
      ['lower: later', middle, small, [500, 64], [250, 32]],
      ['higher: at once', middle, large, [750, 96], [750, 96]],
      ['one of each', middle, { cpu: '250m', memory: '96Mi' }, [500, 96], [250, 96]],
      ['none any more', middle, {}, [undefined, undefined], [undefined, undefined]],
      ['limits where there were none: later', {}, middle, [undefined, undefined], [500, 64]],
    ] as const;

    test.each(cases)('%s', async (_, before, after, whileUp, afterwards) => {
      const cgroups = made(version);
      await cgroups.ensure(asking(before), false);
      // as the kernel shows what was written as -1
      if (version === 1 && read(join(memory, own, memoryFile)) === '-1') {
        writeFileSync(join(mount, memory, own, memoryFile), '9223372036854771712\n');
      }
      await cgroups.ensure(asking(after), true);
      expect(limits()).toEqual(whileUp);
      await cgroups.ensure(asking(after), false);
      expect(limits()).toEqual(afterwards);
    });

    test('a cgroup that was not there has its limits at once', async () => {
      await made(version).ensure(asking(middle), true);
      expect(limits()).toEqual([500, 64]);
    });

    test('what it has beside others follows', async () => {
      const cgroups = made(version);
      await cgroups.ensure(burstable, false);
      await cgroups.ensure(asking(middle), true);
      const shares = version === 1 ? 'cpu.shares' : 'cpu.weight';
      const expected = version === 1 ? '102' : '4';
      expect(read(join(cpu, own, shares))).toBe(expected);
      expect(read(join(cpu, own, '..', shares))).toBe(expected);
    });
  },
);

describe('removal', () => {
  test("a pod's in all controllers, with what the runtime left in it, and nothing else", async () => {
    for (const path of [
      'cpu/n1/kubepods/podu1/c1',
      'pids/n1/kubepods/podu1',
      'pids/n1/kubepods/podu2',
      'pids/other/podu1',
    ]) {
      mkdirSync(join(mount, path), { recursive: true });
    }
    const cgroups = made(1);
    await cgroups.remove('u1');
    expect(existsSync(join(mount, 'cpu/n1/kubepods/podu1'))).toBe(false);
    expect(existsSync(join(mount, 'pids/n1/kubepods/podu1'))).toBe(false);
    expect(existsSync(join(mount, 'pids/n1/kubepods/podu2'))).toBe(true);
    expect(existsSync(join(mount, 'pids/other/podu1'))).toBe(true);
  });

  test('never outside of the root', async () => {
    await expect(made(1).remove('/../../../x')).rejects.toThrow(/outside of its root/);
  });
});
