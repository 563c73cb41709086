import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import process from 'node:process';
import { systemBusPath } from '../../src/host/system-bus.ts';
import { FakeBus } from '../support/fake-bus.ts';
import type { NodeMachine } from './node-machine.ts';

/** Takes no lock, for its bus gives no descriptors; runs what it is to run, and notes from when until when. */
const inhibit = (notes: string): string => `#!/bin/sh
what=$*
while [ "\${1#--}" != "$1" ]; do shift; done
echo "held $what" >>${notes}
"$@"
echo released >>${notes}
`;

/**
 * Who shuts a node down: a stand-in of systemd-logind at the place of the system's bus, in the node's own mount namespace alone, and one of
 * `systemd-inhibit` that comes first in the path of what is run {@link under}.
 */
export class NodeLogind {
  readonly bus = new FakeBus();
  readonly #node: NodeMachine;
  readonly #programs: string;
  readonly #notes: string;

  constructor(node: NodeMachine) {
    this.#node = node;
    this.#programs = join(node.folder, 'programs');
    this.#notes = join(node.folder, 'locks');
    // Longer than any shutdown of a test: what is shorter is raised in /etc, which is the machine's.
    this.bus.delayMs = 600_000n;
  }

  /** The node is there, and its kubelet is not yet. */
  async begin(): Promise<void> {
    const folder = join(this.#node.folder, 'bus');
    const place = dirname(systemBusPath);
    for (const each of [folder, this.#programs]) mkdirSync(each, { recursive: true });
    const program = join(this.#programs, 'systemd-inhibit');
    writeFileSync(program, inhibit(this.#notes));
    chmodSync(program, 0o755);
    await this.bus.listen(join(folder, basename(systemBusPath)));
    this.#node.run('mkdir', '-p', place);
    this.#node.run('mount', '--bind', folder, place);
  }

  async end(): Promise<void> {
    await this.bus.close();
  }

  /** By what the node's kubelet is run. */
  get under(): readonly string[] {
    return ['env', `PATH=${this.#programs}:${process.env['PATH'] ?? ''}`];
  }

  /** What became of locks so far: `held`, `released`, and so on. */
  get locks(): readonly string[] {
    if (!existsSync(this.#notes)) return [];
    const lines = readFileSync(this.#notes, 'utf8').trimEnd().split('\n');
    return lines.map((line) => line.split(' ', 1)[0] ?? '');
  }
}
