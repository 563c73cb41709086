// A text that outlives the process: whole or not at all, and only ever in a file.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterAll, describe, expect, test } from 'vitest';
import { KeptFile } from '../../../src/host/kept-file.ts';
import { ownFolder } from '../../support/own-folder.ts';

describe('a kept file', () => {
  const folder = ownFolder('swykept');
  afterAll(() => rmSync(folder, { recursive: true }));

  test('is read as it was written, goes with its folder, and is no problem where it is not', async () => {
    const file = new KeptFile(join(folder, 'deep', 'down', 'kept.json'));
    await expect(file.read()).resolves.toBeUndefined();
    await file.remove();
    await file.write('one');
    await file.write('two');
    await expect(file.read()).resolves.toBe('two');
    expect(readdirSync(join(folder, 'deep', 'down'))).toEqual(['kept.json']);
    await file.remove();
    expect(existsSync(join(folder, 'deep', 'down'))).toBe(false);
  });

  test('is for those whom its mode says, whatever was left of an earlier write', async () => {
    const path = join(folder, 'own', 'secret');
    const file = new KeptFile(path, { mode: 0o600, folderMode: 0o750, isSynced: true });
    await file.write('one');
    writeFileSync(`${path}.${process.pid}.new`, 'half', { mode: 0o644 });
    await file.write('two');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'own')).mode & 0o777).toBe(0o750);
    await expect(file.read()).resolves.toBe('two');
  });

  test('is one of the texts, whole, and the last one in the end, where many are written at the same time', async () => {
    const file = new KeptFile(join(folder, 'busy', 'kept.json'));
    const texts = Array.from({ length: 20 }, (_, at) => `${at}`.repeat(10_000 * (20 - at)));
    const writes = Promise.all(texts.map(async (text) => file.write(text)));
    const read = await file.read();
    expect(read === undefined || texts.includes(read)).toBe(true);
    await writes;
    expect((await file.read()) === texts.at(-1)).toBe(true);
    expect(readdirSync(join(folder, 'busy'))).toEqual(['kept.json']);
  });

  test('is written after a write that failed', async () => {
    const path = join(folder, 'later');
    mkdirSync(path);
    const file = new KeptFile(path);
    const failed = file.write('one');
    await expect(failed).rejects.toThrow('is not a file');
    rmSync(path, { recursive: true });
    await file.write('two');
    await expect(file.read()).resolves.toBe('two');
  });

  test('clears away what the dead have left of it, and nothing else', async () => {
    const inside = join(folder, 'left');
    mkdirSync(inside);
    const { pid: dead } = spawnSync('true');
    const others = [`kept.${process.ppid}.new`, `other.${dead}.new`, 'kept.old.new'];
    for (const name of [`kept.${dead}.new`, ...others]) writeFileSync(join(inside, name), 'half');
    const file = new KeptFile(join(inside, 'kept'));
    await file.write('whole');
    expect(readdirSync(inside)).toEqual(['kept', ...others].toSorted());
  });

  test('is neither read, written nor removed where something that is no file has its name', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const inside = join(folder, 'folder');
    mkdirSync(inside);
    for (const path of [pipe, inside]) {
      const file = new KeptFile(path);
      const refusal = `${path} is not a file`;
      await expect(file.read()).rejects.toThrow(refusal);
      await expect(file.write('text')).rejects.toThrow(refusal);
      await expect(file.remove()).rejects.toThrow(refusal);
    }
    expect(lstatSync(pipe).isFIFO()).toBe(true);
  });
});
