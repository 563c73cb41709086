import { resolve } from 'node:path';

import type { FoundFile } from './manifest-files.ts';

/** A file that is written in place counts as whole when it has been still for this long. */
const STILL_MS = 2_000;

interface Version {
  readonly fingerprint: string;
  readonly realPath: string;
  readonly seenAtMs: number;
  readonly whole: boolean;
}

/**
 * Knows which files are whole. A program that writes in place (`helm template > a.yaml`) empties the
 * file first, and whatever is there in between may read well: only stillness tells that it is done. A
 * file that was renamed into place, or is reached by a link that was swapped, was complete before.
 */
export class FileWrites {
  readonly #versions = new Map<string, Version>();
  /** Absolute paths where a file appeared that nobody has written to since. */
  readonly #renamed = new Set<string>();

  /** What a directory's watch says: `rename` for a name that came or went, `change` for a write. */
  heard(event: string, path: string): void {
    if (event === 'rename') this.#renamed.add(resolve(path));
    else this.#renamed.delete(resolve(path));
  }

  /** Whether what a file shows is all of it. A file never seen before has nothing to lose. */
  isWhole(file: FoundFile, nowMs: number): boolean {
    const { path, fingerprint, realPath } = file;
    const known = this.#versions.get(path);
    const renamed = this.#renamed.delete(resolve(path));
    const same = known?.fingerprint === fingerprint;
    const seenAtMs = same ? known.seenAtMs : nowMs;
    const whole =
      renamed ||
      known?.realPath !== realPath ||
      (same && (known.whole || nowMs - seenAtMs >= STILL_MS));
    this.#versions.set(path, { fingerprint, realPath, seenAtMs, whole });
    return whole;
  }

  /** After this long the next file may have become whole; Infinity where none is being written. */
  restMs(nowMs: number): number {
    let restMs = Infinity;
    for (const { whole, seenAtMs } of this.#versions.values()) {
      if (!whole) restMs = Math.min(restMs, Math.max(0, seenAtMs + STILL_MS - nowMs));
    }
    return restMs;
  }

  /** Forgets all files but these. */
  keepOnly(paths: ReadonlySet<string>): void {
    for (const path of this.#versions.keys()) if (!paths.has(path)) this.#versions.delete(path);
    const absolute = new Set(Array.from(paths, (path) => resolve(path)));
    for (const path of this.#renamed) if (!absolute.has(path)) this.#renamed.delete(path);
  }
}
