import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LogOptions } from '../../../../../src/kubelet/server/logs/log-options.ts';
import { readLog } from '../../../../../src/kubelet/server/logs/log-reader.ts';
import { systemClock } from '../../../../../src/clock.ts';

/** What of a log's file a client gets, and how a follower goes on. */

let folder = '';
let path = '';
const stop = new AbortController();

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'switchyard-log-'));
  path = join(folder, '0.log');
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

const everything: LogOptions = {
  follow: false,
  previous: false,
  timestamps: false,
  tailLines: undefined,
  since: undefined,
  limitBytes: undefined,
  stream: undefined,
};

const at = (second: number): string => `2026-01-02T03:04:${String(second).padStart(2, '0')}.5Z`;
const line = (second: number, text: string, tag = 'F', stream = 'stdout'): string =>
  `${at(second)} ${stream} ${tag} ${text}\n`;

async function read(options: Partial<LogOptions>): Promise<string> {
  const pieces: Buffer[] = [];
  const reading = {
    path,
    options: { ...everything, ...options },
    isRunning: async () => Promise.resolve(false),
    clock: systemClock,
    signal: stop.signal,
  };
  for await (const piece of readLog(reading)) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

const text = [
  line(1, 'one'),
  line(2, 'two, the beg', 'P'),
  line(3, 'inning'),
  line(4, 'bad', 'F', 'stderr'),
  line(5, ''),
  line(6, 'last', 'F:tag'),
].join('');

test.each<[string, Partial<LogOptions>, string]>([
  ['all of it', {}, 'one\ntwo, the beginning\nbad\n\nlast\n'],
  ['the last two lines', { tailLines: 2 }, '\nlast\n'],
  ['no line', { tailLines: 0 }, ''],
  ['more lines than there are', { tailLines: 99 }, 'one\ntwo, the beginning\nbad\n\nlast\n'],
  ['what was written since', { since: BigInt(Date.parse(at(5))) * 1_000_000n }, '\nlast\n'],
  ['the first bytes', { limitBytes: 7 }, 'one\ntwo'],
  ['one stream', { stream: 'stderr' }, 'bad\n'],
  ['times, one a line', { timestamps: true, limitBytes: 60 }, `${at(1)} one\n${at(2)} two, the b`],
])('%s', async (_, options, expected) => {
  await writeFile(path, text);
  expect(await read(options)).toBe(expected);
});

test('what no runtime has written is left out', async () => {
  await writeFile(
    path,
    `nonsense\n${line(1, 'sense')}${at(2)} stdin F no\n\n${at(3)} stdout F unfinished`,
  );
  expect(await read({})).toBe('sense\n');
});

test('lines over the boundary of a block, and a tail that begins blocks ago, come whole', async () => {
  const lines = Array.from({ length: 5_000 }, (_, i) => `${i} ${'x'.repeat(i % 97)}`);
  await writeFile(path, lines.map((each) => line(1, each)).join(''));
  expect(await read({})).toBe(`${lines.join('\n')}\n`);
  expect(await read({ tailLines: 4_321 })).toBe(`${lines.slice(-4_321).join('\n')}\n`);
});

test('an absent file is an error before anything is given', async () => {
  await expect(read({})).rejects.toThrow('ENOENT');
});

test('no more is read than a client takes', async () => {
  await writeFile(path, line(1, 'y'.repeat(16_000)).repeat(2_000));
  const options = everything;
  const pieces = readLog({
    path,
    options,
    isRunning: async () => Promise.resolve(false),
    clock: systemClock,
    signal: stop.signal,
  });
  const first = await pieces.next();
  expect(first.value?.length).toBeLessThan(70_000);
  await pieces.return();
});

test('a follower gets what is written, goes on in the new file after a rotation, and ends with the container', async () => {
  await writeFile(path, line(1, 'one'));
  let isRunning = true;
  const ended = new AbortController();
  const reading = readLog({
    path,
    options: { ...everything, follow: true },
    isRunning: async () => Promise.resolve(isRunning),
    clock: systemClock,
    signal: ended.signal,
  });
  const next = async (): Promise<string> => {
    const piece = await reading.next();
    return piece.value?.toString() ?? 'end';
  };
  expect(await next()).toBe('one\n');
  await appendFile(path, line(2, 'two'));
  expect(await next()).toBe('two\n');
  await rename(path, `${path}.20260102-030405`);
  await appendFile(`${path}.20260102-030405`, line(3, 'still in the old file'));
  expect(await next()).toBe('still in the old file\n');
  await writeFile(path, line(4, 'in the new one'));
  expect(await next()).toBe('in the new one\n');
  await appendFile(path, line(5, 'the last'));
  isRunning = false;
  expect(await next()).toBe('the last\n');
  expect(await next()).toBe('end');
});

test('a follower whose client is gone ends', async () => {
  await writeFile(path, line(1, 'one'));
  const gone = new AbortController();
  const reading = readLog({
    path,
    options: { ...everything, follow: true },
    isRunning: async () => Promise.resolve(true),
    clock: systemClock,
    signal: gone.signal,
  });
  await reading.next();
  const waiting = reading.next();
  gone.abort();
  expect(await waiting).toEqual({ done: true, value: undefined });
});
