import {
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  removeContainerLogs,
  removeDeadLinks,
} from '../../../../src/kubelet/housekeeping/log-files.ts';
import { LogRotation, planRotation } from '../../../../src/kubelet/housekeeping/log-rotation.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { VirtualClock } from '../../proxy/virtual-clock.ts';
import { runtimeContainer, runtimePod } from '../support/runtime-pods.ts';

/** The files of containers' logs: rotated while a container runs, removed with it. */

let folder = '';
const id = 'a'.repeat(64);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-logs-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

async function link(folderOfLinks: string, digit: string, target: string): Promise<void> {
  await mkdir(folderOfLinks, { recursive: true });
  await symlink(target, join(folderOfLinks, `web_shop_app-${digit.repeat(64)}.log`));
}

const nowMs = Date.parse('2026-01-02T03:04:05Z');
const stamped = (n: number): string => `0.log.20260101-00000${n}`;

test.each([
  ['nothing was rotated before', ['0.log'], 5, [], []],
  ['the last one is compressed now', ['0.log', stamped(1)], 5, [], [stamped(1)]],
  [
    'the oldest goes',
    ['0.log', `${stamped(1)}.gz`, `${stamped(2)}.gz`, `${stamped(3)}.gz`, stamped(4)],
    5,
    [`${stamped(1)}.gz`],
    [stamped(4)],
  ],
  [
    'with two files, one is kept beside the present one',
    ['0.log', stamped(1)],
    2,
    [stamped(1)],
    [],
  ],
  [
    'what was left half done is cleared away',
    ['0.log', `${stamped(1)}.gz`, stamped(1), `${stamped(2)}.tmp`, stamped(2)],
    5,
    [`${stamped(2)}.tmp`, stamped(1)],
    [stamped(2)],
  ],
  [
    'another container, or a file of somebody else',
    ['0.log', '10.log.20260101-000001', '0.log.mine'],
    5,
    [],
    [],
  ],
])('rotation: %s', (_, names, maxFiles, remove, compress) => {
  expect(planRotation(names, '0.log', maxFiles, nowMs)).toEqual({
    remove,
    compress,
    rename: '0.log.20260102-030405',
  });
});

async function scene(
  reopen: () => Promise<void>,
  maxBytes = 10,
  { workers = 1, names = ['0.log'] } = {},
): Promise<() => Promise<void>> {
  const clock = new VirtualClock();
  clock.setDate(nowMs);
  const runtime = {
    reopenContainerLog: async () => {
      await reopen();
      return { $typeName: 'runtime.v1.ReopenContainerLogResponse' } as const;
    },
  };
  const rotation = new LogRotation({
    runtime,
    clock,
    log: silentLog,
    maxBytes,
    maxFiles: 3,
    workers,
  });
  const containers = names.map((name) => runtimeContainer({ logPath: join(folder, name) }));
  const pods = [runtimePod({ containers })];
  return async () => rotation.look(pods, new AbortController().signal);
}

const files = async (): Promise<string[]> => (await readdir(folder)).toSorted();

test('a log that has grown gets another name and the runtime a new file; the one before is compressed', async () => {
  await writeFile(join(folder, '0.log'), 'long enough');
  await writeFile(join(folder, stamped(1)), 'before');
  const look = await scene(async () => writeFile(join(folder, '0.log'), ''));
  await look();
  expect(await files()).toEqual(['0.log', `${stamped(1)}.gz`, '0.log.20260102-030405']);
  const before = await readFile(join(folder, `${stamped(1)}.gz`));
  expect(gunzipSync(before).toString()).toBe('before');
  await look();
  expect(await files()).toHaveLength(3);
});

test.each([1, 2])('no more than %i logs are rotated at a time', async (workers) => {
  let now = 0;
  let most = 0;
  const names = ['0.log', '1.log', '2.log'];
  for (const name of names) await writeFile(join(folder, name), 'long enough');
  const reopen = async (): Promise<void> => {
    now += 1;
    most = Math.max(most, now);
    await readdir(folder);
    await new Promise((resolve) => setImmediate(resolve));
    now -= 1;
  };
  const look = await scene(reopen, 10, { workers, names });
  await look();
  expect(await files()).toHaveLength(3);
  expect(most).toBe(workers);
});

test('a log that has not grown is left alone; one that is not there is asked for', async () => {
  let asked = 0;
  const look = await scene(async () => {
    asked += 1;
    await writeFile(join(folder, '0.log'), 'short');
  });
  await look();
  await look();
  expect([asked, await files()]).toEqual([1, ['0.log']]);
});

test('where the runtime does not reopen its log, the log keeps its name', async () => {
  await writeFile(join(folder, '0.log'), 'long enough');
  const look = await scene(async () => Promise.reject(new Error('not now')));
  await look();
  expect(await files()).toEqual(['0.log']);
});

test("with a container go its log, what was rotated of it and its link, and nobody else's", async () => {
  const links = join(folder, 'containers');
  const logs = join(folder, 'pods');
  await mkdir(logs);
  for (const name of ['1.log', '1.log.20260101-000001.gz', '11.log', '1.logs']) {
    await writeFile(join(logs, name), '');
  }
  await link(links, 'a', join(logs, '1.log'));
  await link(links, 'b', join(logs, '11.log'));
  expect(await readlink(join(links, `web_shop_app-${id}.log`))).toBe(join(logs, '1.log'));
  await removeContainerLogs(join(logs, '1.log'), id, links);
  expect(await readdir(logs)).toEqual(['1.logs', '11.log']);
  expect(await readdir(links)).toEqual([`web_shop_app-${'b'.repeat(64)}.log`]);
});

test('dead links go: not those of live containers, nor what others have put there', async () => {
  const links = join(folder, 'containers');
  const logs = join(folder, 'pods');
  await link(links, 'a', join(logs, 'app', 'gone.log'));
  await link(links, 'b', join(logs, 'app', 'not-yet.log'));
  await link(links, 'c', '/elsewhere/app/gone.log');
  await link(links, 'd', join(logs, 'gone.log'));
  await removeDeadLinks(links, [logs], (each) => each === 'b'.repeat(64));
  expect((await readdir(links)).map((name) => name.at(-5))).toEqual(['b', 'c', 'd']);
});
