import { resolve, sep } from 'node:path';

import type { Clock } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';
import { DirectoryWatches } from './directory-watches.ts';
import { FileWrites } from './file-writes.ts';
import type { Kind, KubeObject } from './kind.ts';
import {
  fingerprintOf,
  findManifestFiles,
  NO_FILE,
  readManifestFile,
  type FoundFile,
  type FoundFiles,
} from './manifest-files.ts';
import { unreadableManifest, type ManifestFile, type ManifestProblem } from './manifests.ts';
import { LastGoodFiles, ObjectFeed } from './object-feed.ts';
import type { Source } from './source.ts';
import { Wakeup } from './wakeup.ts';

/** What a {@link ManifestWatch} is made of. */
export interface ManifestWatchOptions {
  /** Files and directories. */
  readonly paths: readonly string[];
  /** Every kind that {@link ManifestWatch.source} will be asked for. */
  readonly kinds: readonly Kind<KubeObject>[];
  readonly clock: Clock;
  readonly log: Log;
  /** How often to look without being told; network file systems tell nothing. Default 5 s. */
  readonly pollIntervalMs?: number;
}

const POLL_INTERVAL_MS = 5_000;
/** A file this young may be written again within the same tick of the file system's clock. */
const RACY_MS = 2_000;

/**
 * Watches manifests: files rewritten or renamed over, editors, `..data` link swaps of a mounted
 * ConfigMap. What a file adds or changes counts at once; what it no longer shows goes when the file is
 * whole ({@link FileWrites}). One that turns bad keeps its last good objects; a deleted one takes its
 * objects with it; while a directory cannot be listed everything stays as it is. Nothing is said before all paths
 * were readable once.
 */
export class ManifestWatch {
  readonly #options: ManifestWatchOptions;
  readonly #feed: ObjectFeed;
  readonly #lastGood: LastGoodFiles;
  readonly #wakeup = new Wakeup();
  readonly #watches: DirectoryWatches;
  /** What each file looked like when it was parsed; undefined: read it again. */
  readonly #fingerprints = new Map<string, string | undefined>();
  /** What was parsed of each file, as opposed to what is kept of it. */
  readonly #parsed = new Map<string, ManifestFile>();
  readonly #writes = new FileWrites();
  /** Names of the files that were being written at the last look. */
  #unfinished: ReadonlySet<string> = new Set();
  #complete = false;

  constructor(options: ManifestWatchOptions) {
    this.#options = options;
    this.#lastGood = new LastGoodFiles(options.log);
    this.#feed = new ObjectFeed(async (signal) => this.#run(signal));
    this.#watches = new DirectoryWatches({
      log: options.log,
      heard: (event, path) => {
        if (path !== undefined) this.#writes.heard(event, path);
        this.#wakeup.ring();
      },
    });
  }

  /** The objects of one kind; all sources share one watcher. */
  source<T extends KubeObject>(kind: Kind<T>): Source<T> {
    return this.#feed.source(kind);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, pollIntervalMs = POLL_INTERVAL_MS } = this.#options;
    try {
      while (!signal.aborted) {
        await this.#scan();
        const waitMs = Math.min(pollIntervalMs, this.#writes.restMs(clock.monotonic()));
        if (await this.#wakeup.wait(clock, waitMs, signal))
          await this.#wakeup.settle(clock, signal);
      }
    } finally {
      this.#watches.close();
    }
  }

  async #scan(): Promise<void> {
    const found = await this.#findAndWatch();
    const lost = found.missing.filter((path) => !(path.deleted && this.#lastGood.has(path.path)));
    const problems = found.missing.map(({ path, reason }): ManifestProblem => {
      return { file: path, document: 0, reason, unusable: true };
    });
    if (lost.length > 0 && !this.#complete) {
      this.#lastGood.report(problems);
      return;
    }
    const unfinished = new Set<string>();
    const files = await this.#read(
      found,
      lost.map(({ path }) => path),
      unfinished,
    );
    const changed = !this.#complete || this.#hasChanged(files, unfinished);
    this.#complete = true;
    this.#unfinished = unfinished;
    if (!changed) {
      this.#lastGood.report(problems);
      return;
    }
    for (const file of files) this.#parsed.set(file.file, file);
    const names = new Set(files.map((file) => file.file));
    for (const name of this.#parsed.keys()) if (!names.has(name)) this.#forget(name);
    this.#writes.keepOnly(names);
    this.#feed.publish(this.#lastGood.update(files, { problems, unfinished }));
  }

  /** Watches are set before files are read, and the search is repeated when that found new directories. */
  async #findAndWatch(): Promise<FoundFiles> {
    let found = await findManifestFiles(this.#options.paths);
    if (this.#watches.follow(found.directories)) {
      found = await findManifestFiles(this.#options.paths);
      this.#watches.follow(found.directories);
    }
    return found;
  }

  /** Everything found, and what is known of lost paths; puts names into `unfinished`. */
  async #read(
    found: FoundFiles,
    lost: readonly string[],
    unfinished: Set<string>,
  ): Promise<readonly ManifestFile[]> {
    const files: ManifestFile[] = [];
    for (const file of found.files) {
      const content = await this.#readFile(file);
      if (content === undefined) continue;
      files.push(content.file);
      if (!content.whole) unfinished.add(file.path);
    }
    for (const { path, reason } of found.unreadable) files.push(unreadableManifest(path, reason));
    const names = new Set(files.map((file) => file.file));
    const kept = [...this.#parsed.values()].filter(
      ({ file }) => !names.has(file) && lost.some((path) => liesUnder(file, path)),
    );
    return [...files, ...kept];
  }

  async #readFile(
    file: FoundFile,
  ): Promise<{ readonly file: ManifestFile; readonly whole: boolean } | undefined> {
    const { clock, kinds } = this.#options;
    if (!file.regular) return { file: unreadableManifest(file.path, NO_FILE), whole: true };
    const known = this.#parsed.get(file.path);
    const whole = this.#writes.isWhole(file, clock.monotonic());
    if (known !== undefined && this.#fingerprints.get(file.path) === file.fingerprint) {
      return { file: known, whole };
    }
    const readAtMs = clock.now();
    const content = await readManifestFile(file.path, kinds);
    if (content === undefined) return undefined;
    const settled = file.modifiedAtMs < readAtMs - RACY_MS;
    this.#fingerprints.set(file.path, settled ? file.fingerprint : undefined);
    // somebody may have begun to write after the look and before the end of the reading
    return { file: content, whole: whole && (await fingerprintOf(file.path)) === file.fingerprint };
  }

  #hasChanged(files: readonly ManifestFile[], unfinished: ReadonlySet<string>): boolean {
    if (files.length !== this.#parsed.size) return true;
    if ([...unfinished].join('\0') !== [...this.#unfinished].join('\0')) return true;
    return files.some((file) => this.#parsed.get(file.file) !== file);
  }

  #forget(name: string): void {
    this.#parsed.delete(name);
    this.#fingerprints.delete(name);
  }
}

function liesUnder(file: string, path: string): boolean {
  return file === path || `${resolve(file)}${sep}`.startsWith(`${resolve(path)}${sep}`);
}
