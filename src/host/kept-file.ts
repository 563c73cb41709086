import { mkdir, open, readFile, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isAbsent } from '../error.ts';

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
 * A text that outlives the process: a file that is written whole or not at all. Rejects as the system does, and where
 * something that is no file has the name: a pipe would be waited for without end, a device lost under a file.
 */
export class KeptFile {
  readonly path: string;
  readonly #options: KeptFileOptions;

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
    const { mode, folderMode, isSynced = false } = this.#options;
    const temporary = `${this.path}.new`;
    await mkdir(dirname(this.path), { recursive: true, mode: folderMode });
    await this.#isThere();
    // What an earlier process left of one may have another mode.
    await rm(temporary, { force: true });
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(text);
      if (isSynced) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, this.path);
  }

  /** The file goes, and its folder where nothing else is in it. */
  async remove(): Promise<void> {
    if (!(await this.#isThere())) return;
    await rm(this.path, { force: true });
    await rmdir(dirname(this.path)).catch(() => {}); // others keep something there
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
