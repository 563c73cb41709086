import type { Log } from '../telemetry/log.ts';
import type { Kind, KubeObject } from './kind.ts';
import {
  entryName,
  manifestProblemText,
  mergeManifests,
  type ManifestEntry,
  type ManifestFile,
  type ManifestProblem,
  type ManifestSet,
} from './manifests.ts';
import type { Source } from './source.ts';
import { aborted } from './wakeup.ts';

/**
 * Turns whole sets of objects into sources, one a kind. One worker feeds them all: it runs while any
 * of the sources does.
 */
export class ObjectFeed {
  readonly #work: (signal: AbortSignal) => Promise<void>;
  readonly #listeners = new Set<(set: ManifestSet) => void>();
  #current: ManifestSet | undefined;
  #worker: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;

  /** `work` calls {@link publish} and resolves after its signal aborts. */
  constructor(work: (signal: AbortSignal) => Promise<void>) {
    this.#work = work;
  }

  /** Hands a complete set to every running source, and to those that start later. */
  publish(set: ManifestSet): void {
    this.#current = set;
    for (const listener of this.#listeners) listener(set);
  }

  /** The objects of one kind. Every publication replaces the list; the informer finds what changed. */
  source<T extends KubeObject>(kind: Kind<T>): Source<T> {
    return {
      run: async (sink, signal) => {
        if (signal.aborted) return;
        const listener = (set: ManifestSet): void => sink.replace(set.of(kind));
        if (this.#current !== undefined) listener(this.#current);
        this.#listeners.add(listener);
        const worker = (this.#worker ??= this.#startWorker());
        try {
          // a worker that ends early has failed: its error is this source's
          await Promise.race([aborted(signal), worker.done]);
        } finally {
          this.#listeners.delete(listener);
          if (this.#listeners.size === 0) await this.#stopWorker();
        }
      },
    };
  }

  #startWorker(): { readonly stop: AbortController; readonly done: Promise<void> } {
    const stop = new AbortController();
    return { stop, done: this.#work(stop.signal) };
  }

  async #stopWorker(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    worker?.stop.abort();
    await worker?.done;
  }
}

/** What is known of files beside what they hold. */
interface FileNews {
  /** Problems that come without a file. */
  readonly problems?: readonly ManifestProblem[];
  /** Files that somebody may be writing at this moment. */
  readonly unfinished?: ReadonlySet<string>;
}

interface Version {
  readonly read: ManifestFile;
  readonly unfinished: boolean;
  /** What counts of it. */
  readonly file: ManifestFile;
}

/**
 * The newest usable version of each file, and of each object in it. A file with anything unusable in
 * it, an empty one and one that is being written add and change objects, but remove none: what they do
 * not show may be what cannot be read. An object that was clean and has a bad field now stays as it was.
 */
export class LastGoodFiles {
  readonly #log: Log;
  #versions = new Map<string, Version>();
  #reported = new Set<string>();

  constructor(log: Log) {
    this.#log = log;
  }

  has(file: string): boolean {
    return this.#versions.has(file);
  }

  /**
   * Takes the complete list of files as read now, and gives the set that counts. Reports each problem
   * once, for as long as it lasts.
   */
  update(files: readonly ManifestFile[], news: FileNews = {}): ManifestSet {
    this.#versions = new Map(
      files.map((read) => {
        const unfinished = news.unfinished?.has(read.file) ?? false;
        return [read.file, this.#next(read, unfinished)];
      }),
    );
    const set = this.#merged();
    this.#report([...(news.problems ?? []), ...set.problems]);
    return set;
  }

  /** Reports problems that come without objects. */
  report(problems: readonly ManifestProblem[]): void {
    this.#report([...problems, ...this.#merged().problems]);
  }

  #merged(): ManifestSet {
    return mergeManifests(Array.from(this.#versions.values(), ({ file }) => file));
  }

  #next(read: ManifestFile, unfinished: boolean): Version {
    const previous = this.#versions.get(read.file);
    if (previous === undefined) return { read, unfinished, file: read };
    if (previous.read === read && previous.unfinished === unfinished) return previous;
    return { read, unfinished, file: withLastGood(read, unfinished, previous.file) };
  }

  #report(problems: readonly ManifestProblem[]): void {
    const now = new Set<string>();
    for (const problem of problems) {
      const text = manifestProblemText(problem);
      if (!now.has(text) && !this.#reported.has(text)) this.#log.warn({ ...problem }, text);
      now.add(text);
    }
    for (const text of this.#reported) {
      if (!now.has(text)) this.#log.info({}, `no longer a problem: ${text}`);
    }
    this.#reported = now;
  }
}

function withLastGood(read: ManifestFile, unfinished: boolean, last: ManifestFile): ManifestFile {
  const before = new Map(last.entries.map((entry) => [entryKey(entry), entry]));
  const spared = new Set<string>();
  const entries = read.entries.map((entry) => {
    const earlier = before.get(entryKey(entry));
    if (earlier === undefined) return entry;
    const cut = unfinished && entry.document === read.cutDocument;
    const spoilt = entry.flawed && !earlier.flawed;
    if (!cut && !spoilt) return entry;
    if (spoilt) spared.add(entryName(entry));
    return { ...earlier, kept: false };
  });
  const problems = read.problems.map((problem) => {
    if (problem.object === undefined || !spared.has(problem.object)) return problem;
    return { ...problem, reason: `${problem.reason}; its last good version is used` };
  });
  if (read.blank && last.entries.length > 0) problems.push(emptied(read.file));
  if (!unfinished && !problems.some((problem) => problem.unusable)) {
    return { ...read, entries, problems };
  }
  const seen = new Set(entries.map(entryKey));
  const kept = last.entries
    .filter((entry) => !seen.has(entryKey(entry)))
    .map((entry) => ({ ...entry, kept: true }));
  return { ...read, entries: [...entries, ...kept], problems };
}

function emptied(file: string): ManifestProblem {
  const reason = 'is empty; what it held last is kept until it has content again or is deleted';
  return { file, document: 0, reason, unusable: true };
}

function entryKey(entry: ManifestEntry): string {
  const { namespace, name } = entry.object.meta;
  return [entry.kind.apiVersion, entry.kind.kind, namespace, name].join('\0');
}
