/** A volume's files change in one step, as its readers see it. */
import { Buffer } from 'node:buffer';
import {
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { writeAtomically } from '../../../../src/kubelet/volumes/atomic-writer.ts';
import type { PayloadFile } from '../../../../src/kubelet/volumes/atomic-writer.ts';
import { ownFolder } from '../../../support/own-folder.ts';

let directory: string;

beforeEach(() => {
  directory = ownFolder('swy-writer');
});

afterEach(async () => {
  await rm(directory, { recursive: true });
});

function file(text: string, mode = 0o644): PayloadFile {
  return { data: Buffer.from(text), mode };
}

/** Of a size that is not written at once. */
function longText(version: number): string {
  return `${version}\n`.repeat(20_000);
}

function filesOf(version: number): Record<string, PayloadFile> {
  return {
    a: file(longText(version)),
    'deep/b': file(longText(version)),
    [`only-${version}`]: file(''),
  };
}

let turn = 0;

async function write(files: Readonly<Record<string, PayloadFile>>): Promise<boolean> {
  turn++;
  return writeAtomically(directory, {
    payload: new Map(Object.entries(files)),
    fsGroup: undefined,
    nowMs: Date.UTC(2026, 10, 26, 9, 5, 7),
    random: () => turn / 1000,
  });
}

describe('the atomic writer', () => {
  it('shows files as links through ..data, with their exact modes', async () => {
    expect(await write({ plain: file('one'), 'tls/key.pem': file('two', 0o400) })).toBe(true);
    const names = (await readdir(directory)).toSorted();
    expect(names).toHaveLength(4);
    expect(names[0]).toMatch(/^\.\.2026_11_26_09_05_07\.\d+$/);
    expect(names.slice(1)).toEqual(['..data', 'plain', 'tls']);
    expect(await readlink(join(directory, '..data'))).toBe(names[0]);
    expect(await readlink(join(directory, 'plain'))).toBe('..data/plain');
    expect(await readlink(join(directory, 'tls'))).toBe('..data/tls');
    expect(await readFile(join(directory, 'tls/key.pem'), 'utf8')).toBe('two');
    const modeOf = async (path: string): Promise<number> =>
      (await lstat(join(directory, path))).mode & 0o7777;
    expect(await modeOf('..data/plain')).toBe(0o644);
    expect(await modeOf('..data/tls/key.pem')).toBe(0o400);
    expect(await modeOf('..data/tls')).toBe(0o755);
    expect(await modeOf(names[0] ?? '')).toBe(0o755);
  });

  it('writes only what differs, and mends links that are gone', async () => {
    await write({ a: file('one'), b: file('two') });
    const before = await readlink(join(directory, '..data'));
    await rm(join(directory, 'a'));
    expect(await write({ a: file('one'), b: file('two') })).toBe(false);
    expect(await readlink(join(directory, '..data'))).toBe(before);
    expect(await readFile(join(directory, 'a'), 'utf8')).toBe('one');
    for (const changed of [
      { a: file('one'), b: file('2') },
      { a: file('one', 0o600), b: file('2') },
      { a: file('one', 0o600) },
    ]) {
      expect(await write(changed)).toBe(true);
      expect(await write(changed)).toBe(false);
    }
    expect((await readdir(directory)).filter((name) => !name.startsWith('..'))).toEqual(['a']);
    expect(await readdir(directory)).toHaveLength(3);
  });

  it('has ..data also where there is no file', async () => {
    expect(await write({})).toBe(true);
    expect(await readdir(join(directory, '..data'))).toEqual([]);
  });

  it('clears away what an interrupted writer left', async () => {
    await write({ a: file('one') });
    await mkdir(join(directory, '..2026_01_01_00_00_00.7'));
    await writeFile(join(directory, '..2026_01_01_00_00_00.7/a'), 'half');
    await symlink('..2026_01_01_00_00_00.7', join(directory, '..data_tmp'));
    expect(await write({ a: file('two') })).toBe(true);
    expect((await readdir(directory)).toSorted()).toEqual([
      expect.stringMatching(/^\.\.2026_11/),
      '..data',
      'a',
    ]);
    expect(await readFile(join(directory, 'a'), 'utf8')).toBe('two');
  });

  it.each(['../up', '..data', 'a/../b', '/etc/passwd', '', 'a//b', 'x'.repeat(256)])(
    'refuses the path %j, and writes nothing',
    async (path) => {
      await expect(write({ [path]: file('x') })).rejects.toThrow('invalid path');
      expect(await readdir(directory)).toEqual([]);
    },
  );

  it('never shows a reader a missing or a half file', async () => {
    await write(filesOf(0));
    const stop = new Int32Array(new SharedArrayBuffer(4));
    const reader = new Worker(readerProgram, { eval: true, workerData: { directory, stop } });
    const ended = new Promise<string>((resolve, reject) => {
      reader.on('message', resolve);
      reader.on('error', reject);
    });
    for (let version = 1; version <= 300; version++) await write(filesOf(version));
    Atomics.store(stop, 0, 1);
    const { reads, versions, wrong } = JSON.parse(await ended) as Readonly<{
      reads: number;
      versions: number;
      wrong: readonly string[];
    }>;
    expect(wrong).toEqual([]);
    expect(reads).toBeGreaterThan(10);
    expect(versions).toBeGreaterThan(1);
  });
});

/** Reads until it is told to stop. */
const readerProgram = `
const { parentPort, workerData } = require('node:worker_threads');
const fs = require('node:fs');
const wrong = [];
const versions = new Set();
let reads = 0;
const { directory, stop } = workerData;
function whole(text) {
  const lines = text.split('\\n');
  return lines.length === 20001 && lines.slice(0, -1).every((line) => line === lines[0]);
}
function turn() {
  for (const name of ['a', 'deep/b']) {
    const before = fs.readlinkSync(directory + '/..data');
    try {
      const text = fs.readFileSync(directory + '/' + name, 'utf8');
      if (!whole(text)) wrong.push(name + ' is half');
      versions.add(text.slice(0, 10));
      reads++;
    } catch (error) {
      // the folder that the link named when the walk began may be gone when it ends, but only because the link was turned
      const turned = fs.readlinkSync(directory + '/..data') !== before;
      if (error.code !== 'ENOENT' || !turned) wrong.push(String(error));
    }
  }
  if (Atomics.load(stop, 0) === 1) {
    parentPort.postMessage(JSON.stringify({ reads, versions: versions.size, wrong }));
  } else setImmediate(turn);
}
turn();
`;
