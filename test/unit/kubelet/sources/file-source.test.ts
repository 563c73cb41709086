// Static pods of a directory: what counts as one, and how changes are seen.
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../../../src/clock.ts';
import { FileSource } from '../../../../src/kubelet/sources/file-source.ts';
import type { Log } from '../../../../src/telemetry/log.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { ownFolder } from '../../../support/own-folder.ts';

let folder = '';
let stop = new AbortController();
let running: Promise<void> = Promise.resolve();
let sets: string[][] = [];
let errors: string[] = [];

const log: Log = { ...silentLog, error: (_, message) => void errors.push(message) };

beforeEach(() => {
  folder = ownFolder('switchyard-static');
  stop = new AbortController();
  sets = [];
  errors = [];
});

afterEach(async () => {
  stop.abort();
  await running;
  await rm(folder, { recursive: true });
});

function manifest(name: string, image = 'busybox:1'): string {
  const spec = { containers: [{ name: 'app', image }] };
  return JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec });
}

function watch(path = folder): void {
  const source = new FileSource({ path, nodeName: 'n1', pollMs: 200, clock: systemClock, log });
  running = source.run((pods) => {
    sets.push(
      pods.map(({ metadata, spec }) => `${metadata.name} ${spec.containers[0]?.image ?? ''}`),
    );
  }, stop.signal);
}

/** The last set, once it is this one or has had its time to be. */
async function lastSet(...pods: readonly string[]): Promise<readonly string[] | undefined> {
  const deadline = performance.now() + 20_000;
  while (JSON.stringify(sets.at(-1)) !== JSON.stringify(pods) && performance.now() < deadline) {
    await systemClock.sleep(10);
  }
  return sets.at(-1);
}

async function put(name: string, text: string): Promise<void> {
  await writeFile(join(folder, `.${name}.new`), text);
  await rename(join(folder, `.${name}.new`), join(folder, name));
}

test('regular files and links to such count, sorted by name, and bad ones are left out', async () => {
  await put('b.yaml', manifest('b'));
  await put('a', manifest('a'));
  await put('.hidden.yaml', manifest('hidden'));
  await put('bad.yaml', 'a: [');
  await put('secret.yaml', manifest('x').replace('"spec":{', '"spec":{"serviceAccountName":"y",'));
  await mkdir(join(folder, 'below'));
  await writeFile(join(folder, 'below/c.yaml'), manifest('c'));
  await symlink(join(folder, 'below/c.yaml'), join(folder, 'link'));
  watch();
  expect(await lastSet('a-n1 busybox:1', 'b-n1 busybox:1', 'c-n1 busybox:1')).toEqual([
    'a-n1 busybox:1',
    'b-n1 busybox:1',
    'c-n1 busybox:1',
  ]);
  expect(errors.toSorted()).toEqual([
    expect.stringContaining('bad.yaml is left out: not valid YAML'),
    expect.stringContaining('below is left out: is no regular file'),
    expect.stringContaining(
      'secret.yaml is left out: spec.serviceAccountName: a static pod cannot',
    ),
  ]);
});

test('a file that comes, changes and goes', async () => {
  watch();
  expect(await lastSet()).toEqual([]);
  await put('a.yaml', manifest('a'));
  expect(await lastSet('a-n1 busybox:1')).toEqual(['a-n1 busybox:1']);
  await put('a.yaml', manifest('a', 'busybox:2'));
  expect(await lastSet('a-n1 busybox:2')).toEqual(['a-n1 busybox:2']);
  await writeFile(join(folder, 'a.yaml'), manifest('a', 'busybox:3'));
  expect(await lastSet('a-n1 busybox:3')).toEqual(['a-n1 busybox:3']);
  await rm(join(folder, 'a.yaml'));
  expect(await lastSet()).toEqual([]);
});

test('a directory that is not there is one without pods, until it is', async () => {
  watch(join(folder, 'later'));
  expect(await lastSet()).toEqual([]);
  expect(errors).toEqual([expect.stringContaining('later does not exist')]);
  await mkdir(join(folder, 'later'));
  await writeFile(join(folder, 'later/a.yaml'), manifest('a'));
  expect(await lastSet('a-n1 busybox:1')).toEqual(['a-n1 busybox:1']);
});

test('one file alone', async () => {
  await put('a.yaml', manifest('a'));
  watch(join(folder, 'a.yaml'));
  expect(await lastSet('a-n1 busybox:1')).toEqual(['a-n1 busybox:1']);
});

test('of two files with a pod of one name the last counts', async () => {
  await put('a.yaml', manifest('a'));
  await put('b.yaml', manifest('a', 'busybox:2'));
  watch();
  expect(await lastSet('a-n1 busybox:2')).toEqual(['a-n1 busybox:2']);
});
