import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import type { NodeMachine } from './node-machine.ts';

const program = join(import.meta.dirname, '../../src/cli/main.ts');

/** A command of Switchyard that runs on a node of the sandbox. */
export class SwitchyardProcess {
  readonly #node: NodeMachine;
  readonly #command: string;
  readonly #logFile: string;
  #child: ChildProcess | undefined;

  /** `logFile`: in the node's folder. */
  constructor(node: NodeMachine, command: string, logFile: string) {
    this.#node = node;
    this.#command = command;
    this.#logFile = logFile;
  }

  start(flags: readonly string[]): void {
    const words = [process.execPath, program, this.#command, ...flags];
    this.#child = this.#node.spawn(this.#logFile, ...words);
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
    if (this.#node.isHere) child.kill(`SIG${signal}`);
    else {
      // What was spawned is nsenter: the program is its child.
      const found = `$(pgrep -f "^[^ ]*node ${program} ${this.#command}")`;
      this.#node.run('sh', '-c', `kill -${signal} ${found}`);
    }
    await ended;
  }
}
