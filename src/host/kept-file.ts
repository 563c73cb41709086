import { mkdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A text that outlives the process: a file that is written whole or not at all. Rejects as the system does. */
export class KeptFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** undefined where there is no file. */
  async read(): Promise<string | undefined> {
    try {
      return await readFile(this.path, 'utf8');
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async write(text: string): Promise<void> {
    const temporary = `${this.path}.new`;
    await mkdir(dirname(this.path), { recursive: true });
    await writeFile(temporary, text);
    await rename(temporary, this.path);
  }

  /** The file goes, and its folder where nothing else is in it. */
  async remove(): Promise<void> {
    await rm(this.path, { force: true });
    await rmdir(dirname(this.path)).catch(() => {}); // others keep something there
  }
}
