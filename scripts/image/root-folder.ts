import { chmodSync, lutimesSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Layer } from './tree.ts';

/** Writes a layer as a folder, for the Dockerfile to copy. */
export function writeLayer({ entries, time }: Layer, folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const entry of entries) {
    const path = join(folder, entry.path);
    mkdirSync(dirname(path), { recursive: true });
    if (entry.kind === 'link') symlinkSync(entry.target, path);
    else if (entry.kind === 'folder') mkdirSync(path, { recursive: true });
    else writeFileSync(path, entry.data);
    if (entry.kind !== 'link') chmodSync(path, entry.mode);
  }
  // Folders last: what is made in one changes its time.
  for (const { path } of entries.toReversed()) lutimesSync(join(folder, path), time, time);
}
