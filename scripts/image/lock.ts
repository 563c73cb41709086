import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Architecture } from './architecture.ts';
import { root } from './contents.ts';

/** A Debian package as it was when the list was locked. */
export interface LockedPackage {
  readonly version: string;
  /** Of the .deb. */
  readonly sha256: string;
}

/** `image/packages.lock.json`: the packages of `contents.yaml`, exactly. */
export interface Lock {
  /** When it was made, in seconds since 1970: the time of all files that come from packages. */
  readonly time: number;
  readonly packages: Readonly<Record<Architecture['name'], LockedPackages>>;
}

export type LockedPackages = Readonly<Record<string, LockedPackage>>;

const file = join(root, 'image/packages.lock.json');

export function readLock(): Lock {
  return JSON.parse(readFileSync(file, 'utf8')) as Lock;
}

export function writeLock(lock: Lock): void {
  writeFileSync(file, `${JSON.stringify(lock, undefined, 2)}\n`);
}

/** Rejects where the lock is not of just these packages. */
export function checkLock(packages: LockedPackages, names: readonly string[]): void {
  const locked = Object.keys(packages);
  const differ = [
    ...names.filter((name) => !locked.includes(name)).map((name) => `${name} is not locked`),
    ...locked.filter((name) => !names.includes(name)).map((name) => `${name} is not in the list`),
  ];
  if (differ.length === 0) return;
  throw new Error(
    `image/packages.lock.json does not fit image/contents.yaml: ${differ.join(', ')}; npm run image -- --update-lock`,
  );
}
