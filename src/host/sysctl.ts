import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { SwitchyardError, errorText, isAbsent } from '../error.ts';

/** Kernel settings by key (`net/ipv4/conf/all/route_localnet`). */
export interface Sysctls {
  /** undefined where the kernel has no such key (its module is not loaded). */
  read(key: string): Promise<string | undefined>;
  /** Writes only what differs, so that a read-only /proc/sys with the right values is enough. Tells whether it wrote. */
  write(key: string, value: string): Promise<boolean>;
}

/** The sysctls under `root`. */
export function createSysctls(root = '/proc/sys'): Sysctls {
  return {
    read: (key) => readSetting(join(root, key)),
    write: (key, value) => writeSetting(join(root, key), value),
  };
}

/** Content of a one-line kernel file, or undefined where there is none. */
export async function readSetting(path: string): Promise<string | undefined> {
  try {
    return (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw new SwitchyardError('missing', `${path} cannot be read: ${errorText(error)}`, {
      cause: error,
    });
  }
}

/** Writes a one-line kernel file where its content differs; tells whether it wrote. */
export async function writeSetting(path: string, value: string): Promise<boolean> {
  const before = await readSetting(path);
  if (before === value) return false;
  if (before === undefined) {
    throw new SwitchyardError('missing', `${path} does not exist, expected to set it to ${value}`, {
      hint: 'load the kernel module it belongs to (modprobe nf_conntrack for conntrack settings)',
    });
  }
  try {
    await writeFile(path, value);
    return true;
  } catch (error) {
    throw new SwitchyardError(
      'missing',
      `${path} is ${before} and cannot be set to ${value}: ${errorText(error)}`,
      { cause: error, hint: `run privileged, or set it on the host beforehand` },
    );
  }
}
