import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Apt, imageCache } from '../../../scripts/image/apt.ts';
import { architectureOf } from '../../../scripts/image/architecture.ts';
import type { LockedPackages } from '../../../scripts/image/lock.ts';

/** Where containerd and runc are. */
export interface ContainerTools {
  /** To be put before the PATH. */
  readonly folders: readonly string[];
}

const packages = ['containerd', 'runc'];
const programs = ['containerd', 'containerd-shim-runc-v2', 'ctr', 'runc'];

/**
 * This machine's containerd, or Debian's, which is then fetched once and not installed: an installed one would be started as a
 * service of the machine.
 */
export async function containerTools(): Promise<ContainerTools> {
  if (programs.every((name) => onPath(name))) return { folders: [] };
  const apt = new Apt(architectureOf(''), (text) => void process.stderr.write(`image: ${text}\n`));
  const noted = join(imageCache(), 'containerd.json');
  await mkdir(imageCache(), { recursive: true });
  if (!existsSync(noted)) {
    writeFileSync(noted, JSON.stringify(await apt.candidates(packages)));
  }
  const wanted = JSON.parse(readFileSync(noted, 'utf8')) as LockedPackages;
  const unpacked = await apt.unpacked(wanted);
  return {
    folders: unpacked.flatMap(({ folder }) => [join(folder, 'usr/bin'), join(folder, 'usr/sbin')]),
  };
}

function onPath(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, name)));
}
