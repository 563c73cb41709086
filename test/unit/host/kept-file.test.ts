// A text that outlives the process: whole or not at all, and only ever in a file.
import { execFileSync } from 'node:child_process';
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
    writeFileSync(`${path}.new`, 'half', { mode: 0o644 });
    await file.write('two');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, 'own')).mode & 0o777).toBe(0o750);
    await expect(file.read()).resolves.toBe('two');
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
