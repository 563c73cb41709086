// A lock that one process has: nobody but the folder's owner can take it, and what a killed process left stops nobody.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InstanceLock } from '../../../src/host/instance-lock.ts';

const isLinux = process.platform === 'linux';
const source = join(import.meta.dirname, '../../../src/host/instance-lock.ts');

describe.skipIf(!isLinux)('the lock of an instance', () => {
  let folder = '';

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'switchyard-lock-'));
  });

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  const take = async (says = 'process 1') => InstanceLock.take(join(folder, 'run'), 'test', says);

  async function taken(): Promise<InstanceLock> {
    const lock = await take();
    if (!(lock instanceof InstanceLock)) throw new Error(`${lock.said} has it`);
    return lock;
  }

  it('is one process’s until it lets go, and others are told whose', async () => {
    const first = await taken();
    const second = await take('process 2');
    if (second instanceof InstanceLock) throw new Error('two have the lock');
    expect(second.said).toBe('process 1');
    await first.release();
    await second.gone;
    second.forget();
    await (await taken()).release();
    expect(await readdir(join(folder, 'run'))).toEqual([]);
  });

  it('is taken over from a process that was killed, by one of many', async () => {
    const script = `
      import { InstanceLock } from ${JSON.stringify(source)};
      await InstanceLock.take(${JSON.stringify(join(folder, 'run'))}, 'test', 'doomed');
      console.log('taken');
      setInterval(() => {}, 1000);
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    const other = await take();
    if (other instanceof InstanceLock) throw new Error('two have the lock');
    expect(other.said).toBe('doomed');
    child.kill('SIGKILL');
    await other.gone;
    other.forget();
    expect(await readdir(join(folder, 'run'))).toHaveLength(1);
    const all = await Promise.all(Array.from({ length: 12 }, async (_, i) => take(`process ${i}`)));
    const holders = all.filter((each) => each instanceof InstanceLock);
    expect(holders).toHaveLength(1);
    for (const each of all) if (!(each instanceof InstanceLock)) each.forget();
    await holders[0]?.release();
    expect(await readdir(join(folder, 'run'))).toEqual([]);
  });

  it('is not looked for where others may write', async () => {
    await mkdir(join(folder, 'run'));
    await chmod(join(folder, 'run'), 0o777);
    await expect(take()).rejects.toThrow(/^others may write to /);
    expect(await readdir(join(folder, 'run'))).toEqual([]);
  });
});
