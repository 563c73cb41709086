// How full the file systems of claims are: looked at when somebody asks, and waited for only so long.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { expect, test } from 'vitest';
import type { FilledSpace } from '../../../../src/host/disk-space.ts';
import { ClaimSizes } from '../../../../src/kubelet/stats/claim-sizes.ts';
import type { ClaimSizesOptions } from '../../../../src/kubelet/stats/claim-sizes.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';

const claimAt = (path: string, claim = path): ReturnType<ClaimSizesOptions['claims']>[number] => {
  return { uid: 'uid-1', volume: 'v', namespace: 'shop', claim, path };
};

const space = (usedBytes: number): FilledSpace => {
  return { bytes: 1000, availableBytes: 1000 - usedBytes, usedBytes, inodes: 10, freeInodes: 5 };
};

class Lab {
  readonly clock = new VirtualClock();
  readonly looked: string[] = [];
  paths: readonly string[] = [];
  /** Never answer. */
  readonly silent = new Set<string>();
  readonly sizes: ClaimSizes;

  constructor(everyMs = 60_000) {
    this.sizes = new ClaimSizes({
      claims: () => this.paths.map((path) => claimAt(path)),
      clock: this.clock,
      everyMs,
      readSpace: async (path) => {
        this.looked.push(path);
        if (path === '/gone') throw new Error('ENOENT');
        if (this.silent.has(path)) return new Promise(() => {});
        return Promise.resolve(space(this.looked.length));
      },
    });
  }

  async seen(): Promise<readonly (readonly [string, number])[]> {
    return (await this.sizes.all()).map(({ claim, space: { usedBytes } }) => [claim, usedBytes]);
  }
}

test('each folder is looked at once, however many claims lie there, and again after a while', async () => {
  const lab = new Lab();
  lab.paths = ['/a', '/b', '/a'];
  expect(await lab.seen()).toEqual([
    ['/a', 1],
    ['/b', 2],
    ['/a', 1],
  ]);
  await lab.clock.advance(59_000);
  await lab.seen();
  expect(lab.looked).toEqual(['/a', '/b']);
  await lab.clock.advance(1000);
  expect(await lab.seen()).toContainEqual(['/b', 4]);
});

test('a folder that is gone is left out', async () => {
  const lab = new Lab();
  lab.paths = ['/gone', '/a'];
  expect(await lab.seen()).toEqual([['/a', 2]]);
});

test('a file system that does not answer holds nobody up for long, and is not looked at by more than one', async () => {
  const lab = new Lab(0);
  lab.paths = ['/silent', '/a'];
  lab.silent.add('/silent');
  const askedOnce = async (): Promise<readonly string[]> => {
    const asked = lab.seen();
    await lab.clock.advance(2000);
    return (await asked).map(([claim]) => claim);
  };
  expect([await askedOnce(), await askedOnce()]).toEqual([['/a'], ['/a']]);
  expect(lab.looked.filter((path) => path === '/silent')).toHaveLength(1);
});

test('where volumes are not to be measured nothing is looked at', async () => {
  const lab = new Lab(-1);
  lab.paths = ['/a'];
  expect([await lab.seen(), lab.looked]).toEqual([[], []]);
});

test('a real file system has figures that belong together', async () => {
  const path = await mkdtemp(`${tmpdir()}/switchyard-claim-`);
  try {
    const clock = new VirtualClock();
    const sizes = new ClaimSizes({ claims: () => [claimAt(path)], clock, everyMs: 1000 });
    const [use] = await sizes.all();
    const { bytes = 0, availableBytes = 0, usedBytes = 0 } = use?.space ?? {};
    expect(usedBytes).toBeGreaterThan(0);
    expect(usedBytes + availableBytes).toBeLessThanOrEqual(bytes);
  } finally {
    await rm(path, { recursive: true });
  }
});
