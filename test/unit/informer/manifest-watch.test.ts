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

async function write(name: string, text: string): Promise<void> {
  await writeFile(join(directory, name), text);
}

test('files that are written, changed and deleted are followed, for every kind', async () => {
  await write('a.yaml', yaml('a', 'red') + yaml('node1', 'grey', 'Node'));
  const { told, nodesTold } = start();
  expect(await heard(told, 2)).toEqual(['+a:red', 'synced']);
  expect(await heard(nodesTold, 2)).toEqual(['+node1:grey', 'synced']);
  await write('b.yaml', yaml('b', 'blue'));
  expect(await heard(told, 1)).toEqual(['+b:blue']);
  await write('a.yaml', yaml('a', 'black'));
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
    await write('.a.yaml.tmp', yaml('a', String(to)));
    await rename(join(directory, '.a.yaml.tmp'), join(directory, 'a.yaml'));
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
  await write('a.yaml', yaml('a', 'blue'));
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
