import { mkdir, readFile, rename, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isAbsent } from '../error.ts';

/**
 * A text that outlives the process: a file that is written whole or not at all. Rejects as the system does, and where
 * something that is no file has the name: a pipe would be waited for without end, a device lost under a file.
 */
export class KeptFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
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
    const temporary = `${this.path}.new`;
    await mkdir(dirname(this.path), { recursive: true });
    await this.#isThere();
    await writeFile(temporary, text);
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
