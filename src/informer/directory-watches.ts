import { watch, type FSWatcher } from 'node:fs';
import { basename, join, resolve } from 'node:path';

import { errorText } from '../error.ts';
import type { Log } from '../telemetry/log.ts';

/** Who is told what happens in the directories. */
export interface DirectoryWatchesOptions {
  readonly log: Log;
  /**
   * Something happened: `rename` to a name that came or went, `change` to one that was written to; without a path
   * where the system does not say.
   */
  readonly heard: (event: string, path: string | undefined) => void;
}

/** Watches on a set of directories, each held as long as it is the same one. A directory that cannot be watched has to be polled. */
export class DirectoryWatches {
  readonly #options: DirectoryWatchesOptions;
  readonly #watchers = new Map<string, { readonly inode: string; readonly watcher: FSWatcher }>();

  constructor(options: DirectoryWatchesOptions) {
    this.#options = options;
  }

  /** Watches these directories (with their inode) and no others; says whether a watch was added. */
  follow(directories: ReadonlyMap<string, string>): boolean {
    let added = false;
    for (const [path, inode] of directories) {
      const known = this.#watchers.get(path);
      if (known?.inode === inode) continue;
      this.#unwatch(path);
      added = this.#watch(path, inode) || added;
    }
    for (const path of this.#watchers.keys()) if (!directories.has(path)) this.#unwatch(path);
    return added;
  }

  close(): void {
    for (const path of this.#watchers.keys()) this.#unwatch(path);
  }

  #watch(path: string, inode: string): boolean {
    const { log, heard } = this.#options;
    try {
      const watcher = watch(path, { persistent: false }, (event, name) => {
        // a directory that is deleted or moved says its own name, and this watch nothing more
        if (event === 'rename' && name === basename(resolve(path))) this.#unwatch(path);
        heard(event, name === null ? undefined : join(path, name));
      });
      watcher.on('error', (error) => {
        log.debug({ path, err: error }, 'watch lost; the directory is polled');
        this.#unwatch(path);
      });
      this.#watchers.set(path, { inode, watcher });
      return true;
    } catch (error) {
      // no inotify watches left, or no inotify at all
      log.debug({ path }, `cannot watch, polling instead: ${errorText(error)}`);
      return false;
    }
  }

  #unwatch(path: string): void {
    this.#watchers.get(path)?.watcher.close();
    this.#watchers.delete(path);
  }
}
