import { randomBytes } from 'node:crypto';
import { lstat, mkdir, rename, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Server } from 'node:net';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { SwitchyardError, errorText, systemCode } from '../error.ts';
import { expectOwnFolder } from './instance-lock.ts';

/** A server that stands at a path. */
export interface Standing {
  /** Whether the path still leads here: somebody may have removed or replaced it. */
  isThere(): Promise<boolean>;
  /** Takes the path away, where it is still ours, and stops listening; connections are the caller's matter. */
  leave(): Promise<void>;
}

/** Only the owner of a socket may connect to it. */
const ownersOnly = 0o177;

/**
 * Lets a server listen at a path in a folder of this user's own, for this user alone. What a killed process has left there is
 * replaced, the socket of a living one is not, and neither is anything else. Rejects, saying which.
 */
export async function standAt(server: Server, path: string): Promise<Standing> {
  const folder = dirname(path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await expectOwnFolder(folder);
  await expectFree(path);
  // Under another name first: nobody is to find a socket that does not answer, or one that all may connect to.
  const early = join(folder, `.${basename(path)}.${randomBytes(4).toString('hex')}`);
  await listenAt(server, early);
  try {
    const own = await lstat(early);
    await expectFree(path);
    await rename(early, path);
    return {
      isThere: async () => isAt(path, own.ino),
      leave: async () => leave(server, path, own.ino),
    };
  } catch (error) {
    await rm(early, { force: true });
    server.close();
    throw error;
  }
}

async function listenAt(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    const umask = process.umask(ownersOnly);
    try {
      // The path is there when this returns.
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(umask);
    }
  });
}

async function leave(server: Server, path: string, inode: number): Promise<void> {
  if (await isAt(path, inode)) await rm(path, { force: true });
  server.close();
}

async function isAt(path: string, inode: number): Promise<boolean> {
  const there = await lstat(path).catch(() => undefined);
  return there?.ino === inode;
}

async function expectFree(path: string): Promise<void> {
  const there = await lstat(path).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (there === undefined) return;
  if (!there.isSocket()) {
    throw new SwitchyardError('missing', `${path} is there, and no socket`, {
      hint: 'remove it, or name another path by --admin-socket',
    });
  }
  if (await answers(path)) {
    throw new SwitchyardError('missing', `another process listens at ${path}`, {
      retryable: true,
      hint: 'end one of the two, or name another path by --admin-socket',
    });
  }
}

/** Whether somebody listens, be it that all who come have to wait. */
async function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    return await new Promise<boolean>((resolve, reject) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', (error) => {
        const code = systemCode(error);
        if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false);
        else if (code === 'EAGAIN') resolve(true);
        else reject(new Error(`${path}: ${errorText(error)}`, { cause: error }));
      });
    });
  } finally {
    socket.destroy();
  }
}
