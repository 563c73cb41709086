import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { systemClock, type Clock } from '../../../src/clock.ts';
import { Informer } from '../../../src/informer/informer.ts';
import { ManifestWatch } from '../../../src/informer/manifest-watch.ts';
import { ManualClock, nodeKind, recorder, recordingLog, until, widgetKind } from './widgets.ts';

let root: string;
let directory: string;
let stop: (() => Promise<void>) | undefined;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'manifest-watch-'));
  directory = join(root, 'manifests');
  await mkdir(directory);
});

afterEach(async () => {
  await stop?.();
  stop = undefined;
  await rm(root, { recursive: true });
});

/** So long that only what the kernel tells can have been the reason. */
const NEVER_MS = 3_600_000;

function start(options: { paths?: string[]; clock?: Clock; pollIntervalMs?: number } = {}) {
  const { paths = [directory], clock = systemClock, pollIntervalMs = NEVER_MS } = options;
  const { lines, log } = recordingLog();
  const { told, handler } = recorder();
  const nodes = recorder();
  const kinds = [widgetKind, nodeKind];
  const watch = new ManifestWatch({ paths, kinds, clock, log, pollIntervalMs });
  const informers = [
    new Informer({ source: watch.source(widgetKind), handlers: [handler], log, name: 'widgets' }),
    new Informer({ source: watch.source(nodeKind), handlers: [nodes.handler], log, name: 'nodes' }),
  ];
  const stopping = new AbortController();
  const done = Promise.all(
    informers.map(async (informer) => {
      await informer.start(stopping.signal);
    }),
  );
  stop = async () => {
    stopping.abort();
    await done;
  };
  return { told, nodesTold: nodes.told, lines };
}

/** What was told by the time that there are `count` of it, sorted; the next look starts afresh. */
async function heard(told: string[], count: number): Promise<string[]> {
  await until(`${count} calls`, () => told.length >= count);
  return told.splice(0).toSorted();
}

function yaml(name: string, color: string, kind = 'Widget'): string {
  const apiVersion = kind === 'Node' ? 'v1' : 'example.com/v1';
  return `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: {name: ${name}}\nspec: {color: ${color}}\n---\n`;
}

/** As a shell's `>` does. */
async function write(name: string, text: string): Promise<void> {
  await writeFile(join(directory, name), text);
}

/** As a careful program does: a reader sees the old file or the new one. */
async function replace(name: string, text: string): Promise<void> {
  await write(`.${name}.tmp`, text);
  await rename(join(directory, `.${name}.tmp`), join(directory, name));
}

test('files that are written, changed and deleted are followed, for every kind', async () => {
  await write('a.yaml', yaml('a', 'red') + yaml('node1', 'grey', 'Node'));
  const { told, nodesTold } = start();
  expect(await heard(told, 2)).toEqual(['+a:red', 'synced']);
  expect(await heard(nodesTold, 2)).toEqual(['+node1:grey', 'synced']);
  await write('b.yaml', yaml('b', 'blue'));
  expect(await heard(told, 1)).toEqual(['+b:blue']);
  await replace('a.yaml', yaml('a', 'black'));
  expect(await heard(told, 1)).toEqual(['a:red>black']);
  expect(await heard(nodesTold, 1)).toEqual(['-node1']);
  await unlink(join(directory, 'b.yaml'));
  expect(await heard(told, 1)).toEqual(['-b']);
});

test('a file that is renamed over is followed, also where it was named itself', async () => {
  await write('a.yaml', yaml('a', 'red'));
  const { told } = start({ paths: [join(directory, 'a.yaml')] });
  expect(await heard(told, 2)).toEqual(['+a:red', 'synced']);
  for (const [from, to] of [
    ['red', 'blue'],
    ['blue', 'green'],
  ]) {
    await replace('a.yaml', yaml('a', String(to)));
    expect(await heard(told, 1)).toEqual([`a:${from}>${to}`]);
  }
});

test('the link swap of a mounted ConfigMap is followed', async () => {
  const version = async (name: string, color: string): Promise<void> => {
    await mkdir(join(directory, name));
    await write(join(name, 'a.yaml'), yaml('a', color));
    await symlink(name, join(directory, '..data_tmp'));
    await rename(join(directory, '..data_tmp'), join(directory, '..data'));
  };
  await version('..1', 'red');
  await symlink('..data/a.yaml', join(directory, 'a.yaml'));
  const { told } = start();
  expect(await heard(told, 2)).toEqual(['+a:red', 'synced']);
  await version('..2', 'blue');
  await rm(join(directory, '..1'), { recursive: true });
  expect(await heard(told, 1)).toEqual(['a:red>blue']);
});

test('a new subdirectory is watched as well', async () => {
  const { told } = start();
  expect(await heard(told, 1)).toEqual(['synced']);
  await mkdir(join(directory, 'sub'));
  await write('sub/a.yaml', yaml('a', 'red'));
  expect(await heard(told, 1)).toEqual(['+a:red']);
  await write('sub/a.yaml', yaml('a', 'blue'));
  expect(await heard(told, 1)).toEqual(['a:red>blue']);
});

test('a file that turns bad keeps its last good objects and is reported once', async () => {
  await write('a.yaml', yaml('a', 'red') + yaml('b', 'red'));
  const { told, lines } = start();
  expect(await heard(told, 3)).toEqual(['+a:red', '+b:red', 'synced']);
  await write('a.yaml', `${yaml('a', 'blue')}kind: [\n---\n${yaml('c', 'red')}`);
  expect(await heard(told, 2)).toEqual(['+c:red', 'a:red>blue']);
  expect(lines.filter((line) => line.includes('a.yaml: document 2'))).toHaveLength(1);
  await replace('a.yaml', yaml('a', 'blue'));
  expect(await heard(told, 2)).toEqual(['-b', '-c']);
  expect(lines.some((line) => line.includes('no longer a problem'))).toBe(true);
});

test('an object that turns unusable keeps its last good version', async () => {
  await write('a.yaml', yaml('a', 'red') + yaml('b', 'red'));
  const { told, lines } = start();
  expect(await heard(told, 3)).toEqual(['+a:red', '+b:red', 'synced']);
  await write('a.yaml', yaml('a', '7') + yaml('b', 'blue'));
  expect(await heard(told, 1)).toEqual(['b:red>blue']);
  expect(lines.join('\n')).toContain('Widget default/a: spec.color: must be a string');
});

test('an object with a field that turns unusable stays as it was, and one that is new is used in part', async () => {
  const sized = (name: string, color: string, size: string): string =>
    yaml(name, color).replace('color:', `size: ${size}, color:`);
  await write('a.yaml', sized('a', 'red', '1') + sized('c', 'red', 'big'));
  const { told, lines } = start();
  expect(await heard(told, 3)).toEqual(['+a:red', '+c:red', 'synced']);
  await write('a.yaml', sized('a', 'blue', 'big') + sized('b', 'red', 'big') + yaml('c', 'blue'));
  expect(await heard(told, 2)).toEqual(['+b:red', 'c:red>blue']);
  expect(lines.join('\n')).toContain(
    'Widget default/a: spec.size: must be a number; its last good version is used',
  );
  await write('a.yaml', sized('a', 'green', 'big') + sized('b', 'blue', 'big') + yaml('c', 'blue'));
  expect(await heard(told, 1)).toEqual(['b:red>blue']);
  await write('a.yaml', sized('a', 'black', '2') + yaml('b', 'blue') + yaml('c', 'blue'));
  expect(await heard(told, 1)).toEqual(['a:red>black']);
});

test('what a broken file showed once gives way to another file that shows it now', async () => {
  await write('b.yaml', yaml('a', 'red') + yaml('b', 'red'));
  const { told, lines } = start();
  expect(await heard(told, 3)).toEqual(['+a:red', '+b:red', 'synced']);
  await replace('b.yaml', 'kind: [');
  await until('reported', () => lines.some((line) => line.includes('not valid YAML')));
  await write('a.yaml', yaml('a', 'blue'));
  expect(await heard(told, 1)).toEqual(['a:red>blue']);
  expect(lines.join('\n')).not.toContain('defined twice');
});

test('a directory that is not there yet is waited for, one that vanishes keeps its objects', async () => {
  await rm(directory, { recursive: true });
  const { told, lines } = start({ pollIntervalMs: 20 });
  await until('reported', () => lines.some((line) => line.includes('ENOENT')));
  expect(told).toEqual([]);
  await mkdir(directory);
  await write('a.yaml', yaml('a', 'red'));
  await until('synced', () => told.includes('synced'));
  await until('told', () => told.includes('+a:red'));
  told.length = 0;
  lines.length = 0;
  await rename(directory, join(root, 'away'));
  await until('reported again', () => lines.some((line) => line.includes('ENOENT')));
  expect(told).toEqual([]);
  await rename(join(root, 'away'), directory);
  await write('b.yaml', yaml('b', 'blue'));
  expect(await heard(told, 1)).toEqual(['+b:blue']);
});

test('a named file that is deleted takes its objects with it and may come back', async () => {
  await write('a.yaml', yaml('a', 'red'));
  const { told } = start({ paths: [join(directory, 'a.yaml')] });
  expect(await heard(told, 2)).toEqual(['+a:red', 'synced']);
  await unlink(join(directory, 'a.yaml'));
  expect(await heard(told, 1)).toEqual(['-a']);
  await write('a.yaml', yaml('a', 'blue'));
  expect(await heard(told, 1)).toEqual(['+a:blue']);
});

test('a named file needs no extension', async () => {
  await write('objects', yaml('a', 'red'));
  const { told } = start({ paths: [join(directory, 'objects')] });
  expect(await heard(told, 2)).toEqual(['+a:red', 'synced']);
  await unlink(join(directory, 'objects'));
  expect(await heard(told, 1)).toEqual(['-a']);
});

test('a named file that is gone does not keep what other paths lose', async () => {
  await write('a.yaml', yaml('a', 'red'));
  await writeFile(join(root, 'b.yaml'), yaml('b', 'red'));
  const { told } = start({ paths: [directory, join(root, 'b.yaml')] });
  expect(await heard(told, 3)).toEqual(['+a:red', '+b:red', 'synced']);
  await unlink(join(root, 'b.yaml'));
  expect(await heard(told, 1)).toEqual(['-b']);
  await write('c.yaml', yaml('c', 'red'));
  await unlink(join(directory, 'a.yaml'));
  expect(await heard(told, 2)).toEqual(['+c:red', '-a']);
});

test('a directory behind a link that is swapped is read anew, without a file missing in between', async () => {
  await write('a.yaml', yaml('a', 'red') + yaml('b', 'red'));
  await mkdir(join(root, 'second'));
  await writeFile(join(root, 'second', 'a.yaml'), yaml('a', 'blue'));
  const link = join(root, 'link');
  await symlink(directory, link);
  const { told } = start({ paths: [link] });
  expect(await heard(told, 3)).toEqual(['+a:red', '+b:red', 'synced']);
  await symlink(join(root, 'second'), join(root, 'next'));
  await rename(join(root, 'next'), link);
  expect(await heard(told, 2)).toEqual(['-b', 'a:red>blue']);
});

test('a directory that is deleted and made again is watched again', async () => {
  const sub = join(directory, 'sub');
  await mkdir(sub);
  const { told } = start();
  expect(await heard(told, 1)).toEqual(['synced']);
  // file systems give the number of the old directory to the new one
  await rm(sub, { recursive: true });
  await mkdir(sub);
  await write('sub/a.yaml', yaml('a', 'red'));
  expect(await heard(told, 1)).toEqual(['+a:red']);
  await write('sub/a.yaml', yaml('a', 'blue'));
  expect(await heard(told, 1)).toEqual(['a:red>blue']);
});

test('a pipe among the manifests is reported and holds nothing up', async () => {
  execFileSync('sh', ['-c', 'mkfifo "$0"', join(directory, 'pipe.yaml')]);
  await write('a.yaml', yaml('a', 'red'));
  const { told, lines } = start({ paths: [directory, join(directory, 'pipe.yaml')] });
  expect(await heard(told, 2)).toEqual(['+a:red', 'synced']);
  expect(lines.join('\n')).toContain('pipe.yaml: is no regular file');
});

test('of an object in two files the later file counts; when it goes, the other takes over', async () => {
  await write('a.yaml', yaml('a', 'red'));
  await write('b.yaml', yaml('a', 'blue'));
  const { told, lines } = start();
  expect(await heard(told, 2)).toEqual(['+a:blue', 'synced']);
  expect(lines.join('\n')).toMatch(/b\.yaml: .*defined twice: also in .*a\.yaml/);
  await unlink(join(directory, 'b.yaml'));
  expect(await heard(told, 1)).toEqual(['a:blue>red']);
});

test('it also looks by itself, for file systems that tell nothing', async () => {
  await write('real.yaml', yaml('a', 'red'));
  const elsewhere = join(root, 'elsewhere.yaml');
  await writeFile(elsewhere, yaml('b', 'red'));
  // nothing is watched where the link leads
  await symlink(elsewhere, join(directory, 'link.yaml'));
  const clock = new ManualClock();
  const { told } = start({ clock, pollIntervalMs: 5_000 });
  expect(await heard(told, 3)).toEqual(['+a:red', '+b:red', 'synced']);
  await writeFile(elsewhere, yaml('b', 'blue'));
  expect(told).toEqual([]);
  await until('asleep', () => clock.slept.length > 0);
  clock.advance(5_000);
  expect(await heard(told, 1)).toEqual(['b:red>blue']);
});

test('a file that is emptied and written again is one change', async () => {
  await write('a.yaml', yaml('a', 'red'));
  const clock = new ManualClock();
  const { told } = start({ clock });
  expect(await heard(told, 2)).toEqual(['+a:red', 'synced']);
  await write('a.yaml', '');
  await until('waiting for quiet', () => clock.slept.includes(50));
  await write('a.yaml', yaml('a', 'blue'));
  await until(
    'told',
    () => told.length > 0,
    () => clock.pass(50),
  );
  expect(told).toEqual(['a:red>blue']);
});

/** Like {@link heard}, while the time passes that a change needs to be read, and no more. */
async function heardSoon(told: string[], clock: ManualClock, count: number): Promise<string[]> {
  await until(
    `${count} calls`,
    () => told.length >= count,
    () => clock.pass(50),
  );
  return told.splice(0).toSorted();
}

test('what a file that is being written does not show goes when it has been still for 2 s', async () => {
  await write('a.yaml', yaml('a', 'red') + yaml('b', 'red'));
  const clock = new ManualClock();
  const { told } = start({ clock });
  expect(await heard(told, 3)).toEqual(['+a:red', '+b:red', 'synced']);
  await write('a.yaml', yaml('a', 'blue'));
  expect(await heardSoon(told, clock, 1)).toEqual(['a:red>blue']);
  await until('asleep', () => clock.sleeping.includes(2_000));
  clock.advance(1_900);
  await write('a.yaml', yaml('a', 'blue') + yaml('c', 'red'));
  expect(await heardSoon(told, clock, 1)).toEqual(['+c:red']);
  await until('asleep again', () => clock.sleeping.includes(2_000));
  clock.advance(1_900);
  expect(told).toEqual([]);
  clock.advance(100);
  expect(await heard(told, 1)).toEqual(['-b']);
});

test('an object whose last line is not ended in a file that is being written stays as it was', async () => {
  await write('a.yaml', yaml('a', 'red') + yaml('b', 'red'));
  const clock = new ManualClock();
  const { told } = start({ clock });
  expect(await heard(told, 3)).toEqual(['+a:red', '+b:red', 'synced']);
  const cut = `${yaml('a', 'blue')}apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: b}\nspec:\n  color: gre`;
  await write('a.yaml', cut);
  expect(await heardSoon(told, clock, 1)).toEqual(['a:red>blue']);
  await until('asleep', () => clock.sleeping.includes(2_000));
  await write('a.yaml', `${cut}en`);
  await until(
    'told',
    () => told.length > 0,
    () => clock.pass(2_000),
  );
  expect(told).toEqual(['b:red>green']);
});

test('what a file that was renamed into place does not show goes at once', async () => {
  await write('a.yaml', yaml('a', 'red') + yaml('b', 'red'));
  const clock = new ManualClock();
  const { told } = start({ clock });
  expect(await heard(told, 3)).toEqual(['+a:red', '+b:red', 'synced']);
  await replace('a.yaml', yaml('a', 'red'));
  expect(await heardSoon(told, clock, 1)).toEqual(['-b']);
});

test('a file that is made anew and written little by little loses nothing in between', async () => {
  await write('a.yaml', yaml('a', 'red') + yaml('b', 'red'));
  const clock = new ManualClock();
  const { told } = start({ clock });
  expect(await heard(told, 3)).toEqual(['+a:red', '+b:red', 'synced']);
  await until('asleep', () => clock.sleeping.includes(NEVER_MS));
  await rename(join(directory, 'a.yaml'), join(directory, 'a.yaml~'));
  await write('a.yaml', yaml('a', 'blue'));
  expect(await heardSoon(told, clock, 1)).toEqual(['a:red>blue']);
  await write('a.yaml', yaml('a', 'blue') + yaml('b', 'blue'));
  expect(await heardSoon(told, clock, 1)).toEqual(['b:red>blue']);
});

test('a file that is emptied keeps its objects and is reported; a deleted one does not', async () => {
  await write('a.yaml', yaml('a', 'red'));
  const clock = new ManualClock();
  const { told, lines } = start({ clock });
  expect(await heard(told, 2)).toEqual(['+a:red', 'synced']);
  await write('a.yaml', ' \n');
  await until(
    'reported',
    () => lines.some((line) => line.includes('a.yaml: is empty')),
    () => clock.pass(50),
  );
  clock.advance(2_000);
  await write('b.yaml', yaml('b', 'red'));
  expect(await heardSoon(told, clock, 1)).toEqual(['+b:red']);
  await unlink(join(directory, 'a.yaml'));
  expect(await heardSoon(told, clock, 1)).toEqual(['-a']);
});

test('where nothing is told, a file is whole when two looks 2 s apart see the same', async () => {
  const elsewhere = join(root, 'elsewhere.yaml');
  await writeFile(elsewhere, yaml('a', 'red') + yaml('b', 'red'));
  await symlink(elsewhere, join(directory, 'link.yaml'));
  const clock = new ManualClock();
  const { told } = start({ clock, pollIntervalMs: 5_000 });
  expect(await heard(told, 3)).toEqual(['+a:red', '+b:red', 'synced']);
  await writeFile(elsewhere, yaml('a', 'blue'));
  await until('asleep', () => clock.sleeping.includes(5_000));
  clock.advance(5_000);
  expect(await heard(told, 1)).toEqual(['a:red>blue']);
  await until('asleep for less', () => clock.sleeping.includes(2_000));
  clock.advance(2_000);
  expect(await heard(told, 1)).toEqual(['-b']);
});
