// A volume that is given to a group while a container changes what is in it: nothing becomes anybody's but what was looked at.
import {
  chown,
  lchown,
  lstat,
  mkdir,
  open,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { giveToGroup } from '../../../../src/kubelet/volumes/ownership.ts';
import { ownFolder } from '../../../support/own-folder.ts';

const given = { fsGroup: 4242 };

let root: string;
let volume: string;

beforeEach(async () => {
  root = ownFolder('switchyard-ownership');
  volume = join(root, 'volume');
  await mkdir(volume);
});

afterEach(async () => {
  vi.restoreAllMocks();
  await rm(root, { recursive: true });
});

async function ownerOf(path: string): Promise<string> {
  const { uid, gid } = await lstat(path);
  return `${uid}:${gid}`;
}

/** As somebody who is as quick as can be: between the look at a link and its change. */
async function onLink(act: () => Promise<void>): Promise<void> {
  const handle = await open(root);
  const handles = Object.getPrototypeOf(handle) as typeof handle;
  await handle.close();
  // What the look itself is: called with the handle that is looked at.
  const stat = Reflect.get(handles, 'stat') as (this: typeof handle) => ReturnType<typeof lstat>;
  vi.spyOn(handles, 'stat').mockImplementation(async function look(this: typeof handle) {
    const found = await stat.call(this);
    if (found.isSymbolicLink()) await act();
    return found;
  });
}

test('a link is given, and not what it leads to', async () => {
  await writeFile(join(root, 'outside'), '');
  await symlink(join(root, 'outside'), join(volume, 'link'));
  await symlink('nowhere', join(volume, 'dangling'));
  await lchown(join(volume, 'link'), 1001, 1001);
  await giveToGroup(volume, given);
  expect(await ownerOf(join(volume, 'link'))).toBe('1001:4242');
  expect(await ownerOf(join(volume, 'dangling'))).toBe('0:4242');
  expect(await ownerOf(join(root, 'outside'))).toBe('0:0');
});

test('a file that takes the place of a link does not become that of the link’s owner', async () => {
  await mkdir(join(volume, 'sub'));
  await symlink('file', join(volume, 'sub/link'));
  await lchown(join(volume, 'sub/link'), 1001, 1001);
  await writeFile(join(volume, 'file'), '');
  await chown(join(volume, 'file'), 0, 0);
  const swaps = vi.fn<() => Promise<void>>(async () =>
    rename(join(volume, 'file'), join(volume, 'sub/link')),
  );
  await onLink(swaps);
  await giveToGroup(join(volume, 'sub'), given);
  expect(swaps).toHaveBeenCalledTimes(1);
  expect(await ownerOf(join(volume, 'sub/link'))).toBe('0:0');
});
