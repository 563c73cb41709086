import { readlink, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';

/** What devices that the kernel numbers are called; one that has no name is called by its number. */
export class BlockDevices {
  readonly #sys: string;
  readonly #names = new Map<string, string>();

  constructor(sys = '/sys') {
    this.#sys = sys;
  }

  /** `/dev/sda` of `8:0`. */
  async nameOf(device: string): Promise<string> {
    const known = this.#names.get(device);
    if (known !== undefined) return known;
    const link = await readlink(join(this.#sys, 'dev/block', device)).catch(() => undefined);
    const name = link === undefined ? device : `/dev/${basename(link)}`;
    this.#names.set(device, name);
    return name;
  }

  /** Of the file system that a path is on; undefined: there is no such path. */
  async holding(path: string): Promise<string | undefined> {
    const found = await stat(path).catch(() => undefined);
    return found && this.nameOf(`${major(found.dev)}:${minor(found.dev)}`);
  }
}

/** As the C library packs the two into one number. */
function major(dev: number): number {
  return Math.floor(dev / 256) & 0xfff;
}

function minor(dev: number): number {
  return (dev & 0xff) | (Math.floor(dev / 4096) & 0xfff00);
}
