import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { CgroupReader } from '../../src/host/cgroup-usage.ts';
import { cgroupVersion } from '../../src/host/cgroups.ts';
import { testCgroup } from './kubelet-process.ts';
import type { NodeMachine } from './node-machine.ts';

/** Often enough for whoever looks each second. */
const everyMs = 100;

/**
 * Memory of a node's own: so much of it, of which is used what the kernel says of the cgroup that all its pods are in. Programs on the node read
 * it in `/proc/meminfo`, whose own figures are those of the machine that all nodes share.
 */
export class NodeMemory {
  readonly #node: NodeMachine;
  readonly #bytes: number;
  #reader: CgroupReader | undefined;
  #leave = (): void => {};

  constructor(node: NodeMachine, bytes: number) {
    this.#node = node;
    this.#bytes = bytes;
  }

  /** The node is there, and its kubelet is not yet. */
  async begin(): Promise<void> {
    this.#reader = new CgroupReader({ version: await cgroupVersion() });
    const ofMachine = readFileSync('/proc/meminfo', 'utf8');
    const path = join(this.#node.folder, 'meminfo');
    writeFileSync(path, this.#text(ofMachine));
    this.#node.run('mount', '--bind', path, '/proc/meminfo');
    // In place, and always as long: who reads meanwhile finds a whole text.
    const file = openSync(path, 'r+');
    const timer = setInterval(() => writeSync(file, this.#text(ofMachine), 0), everyMs);
    this.#leave = () => {
      clearInterval(timer);
      closeSync(file);
    };
  }

  end(): void {
    this.#leave();
  }

  get usedBytes(): number {
    const usage = this.#reader?.read(`/${testCgroup}/${this.#node.name}`);
    return usage?.memory?.workingSetBytes ?? 0;
  }

  #text(ofMachine: string): string {
    const free = Math.max(0, this.#bytes - this.usedBytes);
    const own = new Map([
      ['MemTotal', this.#bytes],
      ['MemFree', free],
      ['MemAvailable', free],
    ]);
    return ofMachine.replaceAll(/^(?<name>\w+):( +\d+) kB$/gm, (line, name: string) => {
      const bytes = own.get(name);
      if (bytes === undefined) return line;
      return `${name}:`.padEnd(16) + `${Math.floor(bytes / 1024)} kB`.padStart(11);
    });
  }
}
