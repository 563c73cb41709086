import { constants } from 'node:fs';
import { access, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import process from 'node:process';

/** What this process may do, and where it is. */
export interface Privileges {
  readonly isRoot: boolean;
  /** Of CAP_NET_ADMIN and CAP_SYS_ADMIN, in effect. */
  readonly mayChangeNetwork: boolean;
  readonly mayMakeNamespaces: boolean;
  /** Whether process 1 is in this network namespace; undefined where that may not be seen. */
  readonly sharesNetworkOfInit: boolean | undefined;
  /** Kernel settings can be written. */
  readonly mayWriteSysctls: boolean;
}

const capabilities = { netAdmin: 12n, sysAdmin: 21n } as const;

/** Reads the process's own rights; asks the kernel, and tries nothing. */
export async function readPrivileges(proc = '/proc'): Promise<Privileges> {
  const status = await readFile(join(proc, 'self/status'), 'utf8').catch(() => '');
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const has = (bit: bigint): boolean => ((effective >> bit) & 1n) === 1n;
  const own = await readlink(join(proc, 'self/ns/net')).catch(() => undefined);
  const first = await readlink(join(proc, '1/ns/net')).catch(() => undefined);
  return {
    isRoot: process.geteuid?.() === 0,
    mayChangeNetwork: has(capabilities.netAdmin),
    mayMakeNamespaces: has(capabilities.sysAdmin),
    sharesNetworkOfInit: own === undefined || first === undefined ? undefined : own === first,
    mayWriteSysctls: await isWritable(join(proc, 'sys/net/ipv4/ip_forward')),
  };
}

async function isWritable(path: string): Promise<boolean> {
  return access(path, constants.W_OK).then(
    () => true,
    () => false,
  );
}

/** The lock file of the xtables tools. */
export interface LockFile {
  readonly path: string;
  readonly exists: boolean;
  /** It is inside a container's own image: nobody outside sees its lock. */
  readonly isPrivate: boolean;
}

/** Whether a file lies in a container's own file system, which is an overlay and the root. */
export async function readLockFile(path: string, proc = '/proc', root = '/'): Promise<LockFile> {
  const [file, base] = await Promise.all([stat(path).catch(() => undefined), stat(root)]);
  const mounts = await readFile(join(proc, 'self/mountinfo'), 'utf8').catch(() => '');
  const rootLine = mounts.split('\n').findLast((line) => line.split(' ')[4] === '/') ?? '';
  const isOverlay = / - (?:overlay|fuse-overlayfs|aufs) /.test(rootLine);
  return { path, exists: file !== undefined, isPrivate: isOverlay && file?.dev === base.dev };
}
