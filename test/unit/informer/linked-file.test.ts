// What a path leads to, link by link, on a real file system; and that a watch hears of it.
import { mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { systemClock } from '../../../src/clock.ts';
import { FileWatch } from '../../../src/informer/file-watch.ts';
import { findLinkedFile } from '../../../src/informer/linked-file.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { until } from './widgets.ts';

let root: string;
let stop: (() => Promise<void>) | undefined;

beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'linked-file-')));
});

afterEach(async () => {
  await stop?.();
  stop = undefined;
  await rm(root, { recursive: true });
});

/** So long that only what the kernel tells can have been the reason. */
const NEVER_MS = 3_600_000;

function follow(path: string, known: string): string[] {
  const told: string[] = [];
  const watch = new FileWatch({
    path,
    known,
    clock: systemClock,
    log: silentLog,
    pollIntervalMs: NEVER_MS,
    onContent: (content) =>
      void told.push(content.kind === 'text' ? content.text : `missing: ${content.reason}`),
  });
  const stopping = new AbortController();
  const done = watch.run(stopping.signal);
  stop = async () => {
    stopping.abort();
    await done;
  };
  return told;
}

/** As a kubelet does with a ConfigMap. */
async function publish(version: string, text: string): Promise<void> {
  await mkdir(join(root, version));
  await writeFile(join(root, version, 'config.conf'), text);
  await symlink(version, join(root, '..data_tmp'));
  await rename(join(root, '..data_tmp'), join(root, '..data'));
}

/** All that was told by the time that this was. */
async function heard(told: string[], text: string): Promise<readonly string[]> {
  await until(text, () => told.includes(text));
  return told.splice(0);
}

test('the swaps of a mounted ConfigMap are followed, with the version before deleted', async () => {
  await publish('..1', 'one');
  await symlink('..data/config.conf', join(root, 'config.conf'));
  const told = follow(join(root, 'config.conf'), 'one');
  await publish('..2', 'two');
  await rm(join(root, '..1'), { recursive: true });
  expect(await heard(told, 'two')).toEqual(['two']);
  await publish('..3', 'three');
  expect(await heard(told, 'three')).toEqual(['three']);
});

test('a link anywhere on the path is followed, and what it leads to', async () => {
  for (const name of ['a', 'b', 'etc']) await mkdir(join(root, name));
  await writeFile(join(root, 'a', 'config.conf'), 'one');
  await writeFile(join(root, 'b', 'config.conf'), 'two');
  await symlink(join(root, 'a'), join(root, 'etc', 'current'));
  const path = join(root, 'etc', 'current', 'config.conf');
  const { directories } = await findLinkedFile(path);
  expect([...directories.keys()]).toEqual(
    expect.arrayContaining([join(root, 'etc'), join(root, 'a')]),
  );
  const told = follow(path, 'one');
  await symlink(join(root, 'b'), join(root, 'etc', 'next'));
  await rename(join(root, 'etc', 'next'), join(root, 'etc', 'current'));
  expect(await heard(told, 'two')).toEqual(['two']);
  await writeFile(join(root, 'b', '.new'), 'three');
  await rename(join(root, 'b', '.new'), join(root, 'b', 'config.conf'));
  expect(await heard(told, 'three')).toEqual(['three']);
});

test('a path that leads nowhere, in a circle or to a directory says so', async () => {
  await symlink('there', join(root, 'here'));
  await symlink('here', join(root, 'there'));
  for (const name of ['absent', 'here', '.']) {
    const { file } = await findLinkedFile(join(root, name));
    expect(file).toEqual({ missing: expect.stringMatching(/no such file|ELOOP|no regular file/) });
  }
  const told = follow(join(root, 'absent'), 'one');
  await until('missing', () => told.length > 0);
  await writeFile(join(root, 'absent'), 'two');
  await until('text', () => told.length > 1);
  expect(told[1]).toBe('two');
});
