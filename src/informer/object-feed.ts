import type { Log } from '../telemetry/log.ts';
import type { Kind, KubeObject } from './kind.ts';
import {
  manifestProblemText,
  mergeManifests,
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

/**
 * The newest usable version of each file. A file with anything unusable in it adds and changes objects,
 * but removes none until it is clean again: what it no longer shows may be what cannot be read.
 */
export class LastGoodFiles {
  readonly #log: Log;
  #files = new Map<string, ManifestFile>();
  #reported = new Set<string>();

  constructor(log: Log) {
    this.#log = log;
  }

  get(file: string): ManifestFile | undefined {
    return this.#files.get(file);
  }

  has(file: string): boolean {
    return this.#files.has(file);
  }

  /**
   * Takes the complete list of files as read now, and gives the set that counts. Reports each problem
   * once, for as long as it lasts.
   */
  update(files: readonly ManifestFile[], problems: readonly ManifestProblem[] = []): ManifestSet {
    this.#files = new Map(files.map((file) => [file.file, this.#withLastGood(file)]));
    const set = mergeManifests([...this.#files.values()]);
    this.#report([...problems, ...set.problems]);
    return set;
  }

  /** Reports problems that come without objects. */
  report(problems: readonly ManifestProblem[]): void {
    this.#report([...problems, ...mergeManifests([...this.#files.values()]).problems]);
  }

  #withLastGood(file: ManifestFile): ManifestFile {
    const previous = this.#files.get(file.file);
    if (previous === undefined || previous === file) return file;
    if (!file.problems.some((problem) => problem.unusable)) return file;
    const seen = new Set(file.entries.map(entryKey));
    const kept = previous.entries.filter((entry) => !seen.has(entryKey(entry)));
    return { ...file, entries: [...file.entries, ...kept] };
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

function entryKey(entry: ManifestFile['entries'][number]): string {
  const { namespace, name } = entry.object.meta;
  return [entry.kind.apiVersion, entry.kind.kind, namespace, name].join('\0');
}
