import { readFile, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Clock } from '../../clock.ts';
import { errorText, isAbsent } from '../../error.ts';
import { DirectoryWatches } from '../../informer/directory-watches.ts';
import { FileWrites } from '../../informer/file-writes.ts';
import { findLinkedFile } from '../../informer/linked-file.ts';
import type { FoundFile } from '../../informer/manifest-files.ts';
import { Wakeup } from '../../informer/wakeup.ts';
import type { Log } from '../../telemetry/log.ts';
import { podText } from '../pod/pod.ts';
import type { Pod } from '../pod/pod.ts';
import { readStaticPod } from './read-static-pod.ts';
import { SourceState } from './source-state.ts';

/** More than this is no manifest. */
const MOST_BYTES = 10 * 1024 * 1024;

export interface FileSourceOptions {
  /** A directory, or one file. */
  readonly path: string;
  readonly nodeName: string;
  readonly pollMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a look found. */
interface Found {
  /** In the order in which they count. */
  readonly files: readonly FoundFile[];
  /** All that lies there, be it a file or not. */
  readonly paths: readonly string[];
  /** Directories to watch, with their inodes. */
  readonly directories: ReadonlyMap<string, string>;
}

/** One file as it was last read. */
interface ReadFile {
  readonly fingerprint: string;
  /** undefined: there is no pod that can be run in it. */
  readonly pod: Pod | undefined;
}

/**
 * Static pods of a directory (regular files and links to such, no name with a dot in front) or of one file (Kubernetes: Create static
 * Pods): a pod a file. All of them are told at first and after each change, also when there is nothing there: then none is to run. A
 * directory that cannot be listed changes nothing. A file that is written in place counts when it has been still for a moment: half a
 * manifest may well be one of another pod.
 */
export class FileSource {
  readonly state: SourceState;
  readonly #options: FileSourceOptions;
  readonly #path: string;
  readonly #wakeup = new Wakeup();
  readonly #writes = new FileWrites();
  readonly #watches: DirectoryWatches;
  readonly #read = new Map<string, ReadFile>();
  #told: readonly Pod[] | undefined;

  constructor(options: FileSourceOptions) {
    this.#options = options;
    this.#path = options.path.replace(/(?<=.)\/+$/, '');
    this.state = new SourceState(options.log, this.#path);
    this.#watches = new DirectoryWatches({
      log: options.log,
      heard: (event, path) => {
        if (path !== undefined) this.#writes.heard(event, path);
        this.#wakeup.ring();
      },
    });
  }

  /** Tells each new set until `signal` aborts. */
  async run(publish: (pods: readonly Pod[]) => void, signal: AbortSignal): Promise<void> {
    const { clock, pollMs } = this.#options;
    try {
      while (!signal.aborted) {
        await this.#look(publish);
        const restMs = Math.min(pollMs, this.#writes.restMs(clock.monotonic()));
        if (await this.#wakeup.wait(clock, restMs, signal))
          await this.#wakeup.settle(clock, signal);
      }
    } finally {
      this.#watches.close();
    }
  }

  async #look(publish: (pods: readonly Pod[]) => void): Promise<void> {
    let found = await this.#find();
    this.state.isStale = found === undefined;
    if (found === undefined) return;
    if (this.#watches.follow(found.directories)) found = (await this.#find()) ?? found;
    const pods: Pod[] = [];
    for (const file of found.files) {
      const pod = await this.#podOf(file);
      if (pod !== undefined) pods.push(pod);
    }
    const paths = new Set(found.files.map(({ path }) => path));
    for (const path of this.#read.keys()) if (!paths.has(path)) this.#read.delete(path);
    this.#writes.keepOnly(paths);
    const { set, twice } = lastOfName(pods);
    for (const name of twice) this.state.complain(name, 'is in two files: the last one counts');
    this.state.keepOnly(new Set([this.#path, ...found.paths, ...twice]));
    if (this.#told?.length === set.length && set.every((pod, at) => pod === this.#told?.[at]))
      return;
    this.#told = set;
    publish(set);
  }

  /** undefined: it cannot be told. */
  async #find(): Promise<Found | undefined> {
    try {
      const stats = await stat(this.#path, { bigint: true });
      const found = stats.isDirectory() ? await this.#inDirectory(stats.ino) : await this.#single();
      this.state.clear(this.#path);
      return found;
    } catch (error) {
      if (!isAbsent(error)) {
        this.state.complain(
          this.#path,
          `cannot be read, its pods stay as they are: ${errorText(error)}`,
        );
        return undefined;
      }
      this.state.complain(this.#path, 'does not exist: there are no static pods');
      const parent = dirname(this.#path);
      const stats = await stat(parent, { bigint: true }).catch(() => undefined);
      const directories = new Map(stats === undefined ? [] : [[parent, String(stats.ino)]]);
      return { files: [], paths: [], directories };
    }
  }

  async #inDirectory(inode: bigint): Promise<Found> {
    const directories = new Map([[this.#path, String(inode)]]);
    const files: FoundFile[] = [];
    const names = (await readdir(this.#path)).filter((name) => !name.startsWith('.'));
    const paths = names.toSorted().map((name) => join(this.#path, name));
    for (const path of paths) {
      const linked = await findLinkedFile(path);
      for (const [directory, each] of linked.directories) directories.set(directory, each);
      if (!('missing' in linked.file)) files.push(linked.file);
      else if (await isThere(path))
        this.state.complain(path, `is left out: ${linked.file.missing}`);
    }
    return { files, paths, directories };
  }

  async #single(): Promise<Found> {
    const { file, directories } = await findLinkedFile(this.#path);
    if ('missing' in file) throw new Error(file.missing);
    return { files: [file], paths: [this.#path], directories };
  }

  async #podOf(file: FoundFile): Promise<Pod | undefined> {
    const { path, fingerprint } = file;
    const known = this.#read.get(path);
    const isWhole = this.#writes.isWhole(file, this.#options.clock.monotonic());
    if (known !== undefined && (known.fingerprint === fingerprint || !isWhole)) return known.pod;
    const pod = await this.#readPod(path);
    this.#read.set(path, { fingerprint, pod });
    return pod;
  }

  async #readPod(path: string): Promise<Pod | undefined> {
    const { nodeName, log } = this.#options;
    try {
      const { size } = await stat(path);
      if (size > MOST_BYTES) throw new Error(`has ${size} bytes, at most ${MOST_BYTES} are read`);
      const text = await readFile(path, 'utf8');
      const pod = readStaticPod(text, { source: 'file', place: path, nodeName });
      this.state.clear(path);
      log.info({ path, pod: podText(pod) }, 'static pod read');
      return pod;
    } catch (error) {
      this.state.complain(path, `is left out: ${errorText(error)}`);
      return undefined;
    }
  }
}

/** Of pods of one name the last file counts. */
function lastOfName(pods: readonly Pod[]): {
  readonly set: readonly Pod[];
  /** Names that are there twice. */
  readonly twice: readonly string[];
} {
  const byName = new Map<string, Pod>();
  const twice: string[] = [];
  for (const pod of pods) {
    const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
    if (byName.delete(name)) twice.push(name);
    byName.set(name, pod);
  }
  return { set: [...byName.values()], twice };
}

async function isThere(path: string): Promise<boolean> {
  const names = await readdir(dirname(path)).catch((): string[] => []);
  return names.includes(basename(path));
}
