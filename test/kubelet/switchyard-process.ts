import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { until } from './node-machine.ts';
import type { NodeMachine } from './node-machine.ts';

const sources = join(import.meta.dirname, '../../src/cli/main.ts');

/** A command of Switchyard that runs on a node of the sandbox. */
export class SwitchyardProcess {
  readonly #node: NodeMachine;
  readonly #command: string;
  readonly #logFile: string;
  readonly #program: string;
  #child: ChildProcess | undefined;

  /** `logFile`: in the node's folder. `program`: the sources, or a bundle of them. */
  constructor(node: NodeMachine, command: string, logFile: string, program = sources) {
    this.#node = node;
    this.#command = command;
    this.#logFile = logFile;
    this.#program = program;
  }

  /** `under`: a program that ends by becoming this one, such as setpriv. */
  start(flags: readonly string[], under: readonly string[] = []): void {
    const words = [...under, process.execPath, this.#program, this.#command, ...flags];
    this.#child = this.#node.spawn(this.#logFile, ...words);
  }

  /** The program's own process, as this one sees it. What was spawned for a node that is not here is nsenter, whose child it is. */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('it was not started');
    if (this.#node.isHere) return pid;
    const child = childOf(pid);
    if (child === undefined) throw new Error('it is not there yet, or no more');
    return child;
  }

  /** Why it is not there any more, or undefined. */
  get ended(): string | undefined {
    const child = this.#child;
    if (!child || (child.exitCode === null && child.signalCode === null)) return undefined;
    return `ended with ${child.exitCode ?? child.signalCode}: ${this.log}`;
  }

  get log(): string {
    return readFileSync(join(this.#node.folder, this.#logFile), 'utf8');
  }

  /** Resolves when it has ended. */
  async end(signal: 'KILL' | 'TERM'): Promise<void> {
    const child = this.#child;
    if (!child || this.ended !== undefined) return;
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => {
        resolve();
      });
    });
    // nsenter takes a moment to begin it, and to see that it has ended
    await until(
      'it can be ended',
      () => this.ended !== undefined || this.#node.isHere || childOf(child.pid) !== undefined,
    );
    if (this.ended === undefined) process.kill(this.pid, `SIG${signal}`);
    await ended;
  }
}

/** The first child of a process; undefined: it has none. */
function childOf(pid: number | undefined): number | undefined {
  const [child = ''] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ');
  // 0 would be whoever asks, with all its group
  return child === '' ? undefined : Number(child);
}
