import { chmod, lstat, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { standAt } from '../../../src/host/admin-socket.ts';
import { ownFolder } from '../../support/own-folder.ts';

/** Job: a socket in the file system is replaced only where nobody answers, and is for its owner alone. */
describe('a socket that stands at a path', () => {
  let folder: string;
  let path: string;
  const servers: Server[] = [];
  const server = (says: string): Server => {
    const each = createServer((client) => void client.on('error', () => {}).end(says));
    servers.push(each);
    return each;
  };

  beforeEach(() => {
    folder = ownFolder('swy-admin');
    path = join(folder, 'own', 'admin.sock');
  });
  afterEach(async () => {
    for (const each of servers.splice(0)) each.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('answers, in a folder and under bits that keep others away, and goes when it is left', async () => {
    const standing = await standAt(server('here'), path);
    expect(await heard(path)).toBe('here');
    expect((await lstat(path)).mode & 0o777).toBe(0o600);
    expect((await lstat(join(folder, 'own'))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(folder, 'own'))).toEqual(['admin.sock']);
    await standing.leave();
    expect(await readdir(join(folder, 'own'))).toEqual([]);
  });

  it('takes the place of one that a killed process has left', async () => {
    await leaveBehind(path);
    await expect(heard(path)).rejects.toThrow('ECONNREFUSED');
    await standAt(server('new'), path);
    expect(await heard(path)).toBe('new');
  });

  it('leaves one that answers alone, and says so', async () => {
    await standAt(server('first'), path);
    await expect(standAt(server('second'), path)).rejects.toThrow(
      `another process listens at ${path}`,
    );
    expect(await heard(path)).toBe('first');
    expect(await readdir(join(folder, 'own'))).toEqual(['admin.sock']);
  });

  it('does not take away what stands there after it', async () => {
    const first = await standAt(server('first'), path);
    await rm(path);
    await standAt(server('second'), path);
    await first.leave();
    expect(await heard(path)).toBe('second');
  });

  it('leaves a file that is no socket alone', async () => {
    await mkdir(join(folder, 'own'), { mode: 0o700 });
    await writeFile(path, 'notes');
    await expect(standAt(server('x'), path)).rejects.toThrow(`${path} is there, and no socket`);
  });

  it('refuses a folder that others may write to', async () => {
    await mkdir(join(folder, 'own'));
    await chmod(join(folder, 'own'), 0o777);
    await expect(standAt(server('x'), path)).rejects.toThrow('others may write to');
  });
});

async function heard(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    connect(path)
      .on('data', (chunk) => (text += chunk.toString()))
      .on('end', () => resolve(text))
      .on('error', reject);
  });
}

/** Node takes a socket away when it is closed; a process that is killed does not. */
async function leaveBehind(path: string): Promise<void> {
  const early = `${path}.early`;
  await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
  const dead = createServer();
  await new Promise<void>((resolve) => void dead.listen(early, resolve));
  const { rename } = await import('node:fs/promises');
  await rename(early, path);
  await new Promise<void>((resolve) => void dead.close(() => resolve()));
}
