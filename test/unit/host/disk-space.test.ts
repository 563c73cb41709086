// Whether two folders are on one disk, where device numbers do not say it.
import { tmpdir } from 'node:os';
import { expect, it } from 'vitest';
import { areOnTwoDisks } from '../../../src/host/disk-space.ts';
import type { DiskPlace } from '../../../src/host/disk-space.ts';

function place(device: number, availableBytes: number, bytes = 1000, inodes = 0): DiskPlace {
  return { device, space: { bytes, availableBytes, inodes, freeInodes: inodes } };
}

async function judged(one: readonly DiskPlace[], other: readonly DiskPlace[]): Promise<boolean> {
  const left = new Map([
    ['one', [...one]],
    ['other', [...other]],
  ]);
  return areOnTwoDisks('one', 'other', async (path) => {
    const places = left.get(path) ?? [];
    const next = places.length > 1 ? places.shift() : places[0];
    if (next === undefined) throw new Error(`nothing at ${path}`);
    return Promise.resolve(next);
  });
}

it.each([
  ['one device', [place(1, 500)], [place(1, 400)]],
  ['subvolumes of one btrfs', [place(1, 500)], [place(2, 500)]],
  [
    'subvolumes, while somebody writes',
    [place(1, 500), place(1, 490)],
    [place(2, 495), place(2, 490)],
  ],
])('%s: one disk', async (_what, one, other) => {
  expect(await judged(one, other)).toBe(false);
});

it.each([
  ['of another size', [place(1, 500)], [place(2, 500, 2000)]],
  ['of one size, with other room', [place(1, 500)], [place(2, 400)]],
  ['with room for other numbers of files', [place(1, 500, 1000, 10)], [place(2, 500, 1000, 20)]],
])('devices %s: two disks', async (_what, one, other) => {
  expect(await judged(one, other)).toBe(true);
});

it('is read of real folders', async () => {
  expect(await areOnTwoDisks(tmpdir(), tmpdir())).toBe(false);
  expect(await areOnTwoDisks(tmpdir(), '/proc')).toBe(true);
});
