import { mkdir, open, readFile, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { isAbsent } from '../error.ts';
import { processLives } from './process.ts';

/** Who may read a kept file, and what it outlives. */
export interface KeptFileOptions {
  /** Of the file; default: what the process makes files with. */
  readonly mode?: number;
  /** Of folders that are made for it. */
  readonly folderMode?: number;
  /** Whether it is there whole or not at all after a loss of power, too. */
  readonly isSynced?: boolean;
}

/**
 * A text that outlives the process: a file that is written whole or not at all. What one object is asked for it does one after the other, and
 * each process writes under a name of its own at first. Rejects as the system does, and where something that is no file has the name: a pipe
 * would be waited for without end, a device lost under a file.
 */
export class KeptFile {
  readonly path: string;
  readonly #options: KeptFileOptions;
  /** What was asked for last; the next waits for it. */
  #last: Promise<void> = Promise.resolve();

  constructor(path: string, options: KeptFileOptions = {}) {
    this.path = path;
    this.#options = options;
  }

  /** undefined where there is no file. */
  async read(): Promise<string | undefined> {
    try {
      if (!(await this.#isThere())) return undefined;
      return await readFile(this.path, 'utf8');
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  async write(text: string): Promise<void> {
    return this.#inTurn(async () => {
      await mkdir(dirname(this.path), { recursive: true, mode: this.#options.folderMode });
      await this.#isThere();
      await this.#removeLeftovers();
      const temporary = `${this.path}.${process.pid}.new`;
      try {
        await this.#make(temporary, text);
        await rename(temporary, this.path);
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      }
    });
  }

  /** The file goes, and its folder where nothing else is in it. */
  async remove(): Promise<void> {
    return this.#inTurn(async () => {
      if (!(await this.#isThere())) return;
      await rm(this.path, { force: true });
      await this.#removeLeftovers();
      await rmdir(dirname(this.path)).catch(() => {}); // others keep something there
    });
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {}); // whoever asked hears of it
    return done;
  }

  async #make(path: string, text: string): Promise<void> {
    const { mode, isSynced = false } = this.#options;
    const file = await open(path, 'wx', mode);
    try {
      await file.writeFile(text);
      if (isSynced) await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Halves of processes that were killed as they wrote; one of our own number was another's before us: we write no second one now. */
  async #removeLeftovers(): Promise<void> {
    const folder = dirname(this.path);
    const start = `${basename(this.path)}.`;
    for (const name of await readdir(folder)) {
      if (!name.startsWith(start)) continue;
      const [, pid] = /^(\d+)\.new$/.exec(name.slice(start.length)) ?? [];
      if (pid === undefined) continue;
      if (Number(pid) !== process.pid && processLives(Number(pid))) continue;
      await rm(join(folder, name), { force: true });
    }
  }

  async #isThere(): Promise<boolean> {
    try {
      if ((await stat(this.path)).isFile()) return true;
    } catch (error) {
      if (isAbsent(error)) return false;
      throw error;
    }
    throw new Error(`${this.path} is not a file`);
  }
}
