import { readFile } from 'node:fs/promises';

import type { Clock } from '../clock.ts';
import { errorText } from '../error.ts';
import type { Log } from '../telemetry/log.ts';
import { DirectoryWatches } from './directory-watches.ts';
import { FileWrites } from './file-writes.ts';
import { findLinkedFile } from './linked-file.ts';
import type { LinkedFile } from './linked-file.ts';
import type { FoundFile } from './manifest-files.ts';
import { Wakeup } from './wakeup.ts';

/** What a watched file holds, or why it cannot be read. */
export type FileContent =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'missing'; readonly reason: string };

/** The file system as a {@link FileWatch} sees it. */
export interface FileAccess {
  readonly find: (path: string) => Promise<LinkedFile>;
  readonly read: (path: string) => Promise<string>;
}

/** What a {@link FileWatch} is made of. */
export interface FileWatchOptions {
  readonly path: string;
  /** What it held when somebody last read it: that is not told again. */
  readonly known: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each new content once. */
  readonly onContent: (content: FileContent) => void;
  /** How often to look without being told; network file systems tell nothing. Default 5 s. */
  readonly pollIntervalMs?: number;
  readonly files?: FileAccess;
}

const POLL_INTERVAL_MS = 5_000;
/** Somebody who replaces a file may delete it first. */
const MISSING_MS = 2_000;
/** A file this young may be written again within the same tick of the file system's clock. */
const RACY_MS = 2_000;

const systemFiles: FileAccess = {
  find: findLinkedFile,
  read: async (path) => readFile(path, 'utf8'),
};

/**
 * Follows one file: written in place, renamed over, by an editor, by a swap of any link on its path (the `..data` of a
 * mounted ConfigMap), gone and back again. Its content is told when it is whole ({@link FileWrites}) and differs from
 * what was told last; that it is gone, when it has been so for two seconds.
 */
export class FileWatch {
  readonly #options: FileWatchOptions;
  readonly #files: FileAccess;
  readonly #wakeup = new Wakeup();
  readonly #writes = new FileWrites();
  readonly #watches: DirectoryWatches;
  #told: FileContent;
  /** What the file looked like when it was read; undefined: read it again. */
  #fingerprint: string | undefined;
  #missingSinceMs: number | undefined;
  #isAsked = false;

  constructor(options: FileWatchOptions) {
    this.#options = options;
    this.#files = options.files ?? systemFiles;
    this.#told = { kind: 'text', text: options.known };
    this.#watches = new DirectoryWatches({
      log: options.log,
      heard: (event, path) => {
        this.heard(event, path);
      },
    });
  }

  /** What the directories' watches say. */
  heard(event: string, path: string | undefined): void {
    if (path !== undefined) this.#writes.heard(event, path);
    this.#wakeup.ring();
  }

  /** Tells the content now, whether or not it differs, and though somebody may be writing. */
  ask(): void {
    this.#isAsked = true;
    this.#wakeup.ring();
  }

  /** Watches until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, pollIntervalMs = POLL_INTERVAL_MS } = this.#options;
    try {
      while (!signal.aborted) {
        const restMs = await this.#look();
        const isRung = await this.#wakeup.wait(clock, Math.min(pollIntervalMs, restMs), signal);
        if (isRung) await this.#wakeup.settle(clock, signal);
      }
    } finally {
      this.#watches.close();
    }
  }

  /** Looks once; after so many milliseconds another look may tell more. */
  async #look(): Promise<number> {
    const { clock } = this.#options;
    const isAsked = this.#isAsked;
    this.#isAsked = false;
    const file = await this.#findAndWatch();
    if ('missing' in file) return this.#missing(file.missing, isAsked);
    this.#missingSinceMs = undefined;
    const isWhole = this.#writes.isWhole(file, clock.monotonic());
    if (isWhole || isAsked) await this.#read(file, isAsked);
    return this.#writes.restMs(clock.monotonic());
  }

  /** Watches are set before the file is read, and the search is repeated when that found new directories. */
  async #findAndWatch(): Promise<LinkedFile['file']> {
    const { path } = this.#options;
    let found = await this.#files.find(path);
    if (this.#watches.follow(found.directories)) {
      found = await this.#files.find(path);
      this.#watches.follow(found.directories);
    }
    return found.file;
  }

  async #read(file: FoundFile, isAsked: boolean): Promise<void> {
    if (!isAsked && this.#fingerprint === file.fingerprint) return;
    const { clock, path } = this.#options;
    const readAtMs = clock.now();
    let text: string;
    try {
      text = await this.#files.read(path);
    } catch (error) {
      this.#fingerprint = undefined;
      this.#tell({ kind: 'missing', reason: errorText(error) }, isAsked);
      return;
    }
    const after = await this.#files.find(path);
    const isSame = !('missing' in after.file) && after.file.fingerprint === file.fingerprint;
    this.#fingerprint =
      isSame && file.modifiedAtMs < readAtMs - RACY_MS ? file.fingerprint : undefined;
    // Somebody may have begun to write after the look and before the end of the reading.
    if (isSame || isAsked) this.#tell({ kind: 'text', text }, isAsked);
    else this.#wakeup.ring();
  }

  #missing(reason: string, isAsked: boolean): number {
    const nowMs = this.#options.clock.monotonic();
    this.#fingerprint = undefined;
    this.#missingSinceMs ??= nowMs;
    const restMs = this.#missingSinceMs + MISSING_MS - nowMs;
    if (restMs > 0 && !isAsked) return restMs;
    this.#tell({ kind: 'missing', reason }, isAsked);
    return Number.POSITIVE_INFINITY;
  }

  #tell(content: FileContent, isAsked: boolean): void {
    const isKnown =
      content.kind === this.#told.kind &&
      (content.kind === 'missing' ||
        (this.#told.kind === 'text' && content.text === this.#told.text));
    this.#told = content;
    if (!isKnown || isAsked) this.#options.onContent(content);
  }
}
