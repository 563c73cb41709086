import { createHash } from 'node:crypto';
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A folder with a configuration file, as a kubelet mounts a ConfigMap. */
export class MountedConfig {
  readonly #folder: string;
  #version = 0;
  /** What it holds now. */
  text = '';

  constructor(folder: string) {
    this.#folder = folder;
  }

  get path(): string {
    return join(this.#folder, 'config.conf');
  }

  get sha256(): string {
    return createHash('sha256').update(this.text).digest('hex');
  }

  /** Makes the folder. */
  async make(text: string): Promise<void> {
    await mkdir(this.#folder);
    await symlink('..data/config.conf', this.path);
    await this.publish(text);
  }

  /** Another version takes the place of the one before in one step. */
  async publish(text: string): Promise<void> {
    this.text = text;
    const before = `..v${this.#version}`;
    const next = `..v${++this.#version}`;
    await mkdir(join(this.#folder, next));
    await writeFile(join(this.#folder, next, 'config.conf'), text);
    await symlink(next, join(this.#folder, '..data_tmp'));
    await rename(join(this.#folder, '..data_tmp'), join(this.#folder, '..data'));
    await rm(join(this.#folder, before), { recursive: true, force: true });
  }
}
