import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { said } from './said.ts';
import type { Said } from './said.ts';

/** A real kubectl, as an administrator of the cluster; it notes what it has learnt of the API in a folder of the sandbox. */
export class Kubectl {
  readonly #program: string;
  readonly #usual: readonly string[];

  constructor(program: string, kubeconfig: string) {
    this.#program = program;
    this.#usual = [`--kubeconfig=${kubeconfig}`, '--cache-dir=/run/sy/kubectl-cache'];
  }

  /** What it prints; rejects where it ends with another status than 0. */
  async run(...args: readonly string[]): Promise<string> {
    const { code, out, err } = await this.ask(...args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${code}: ${err}`);
    return out;
  }

  /** Whatever it ends with, within a minute. */
  async ask(...args: readonly string[]): Promise<Said> {
    return this.askFor(60_000, ...args);
  }

  /** The same, for what takes longer. */
  async askFor(timeoutMs: number, ...args: readonly string[]): Promise<Said> {
    return said(this.#program, [...this.#usual, ...args], timeoutMs);
  }

  /** One that goes on; whoever starts it ends it. */
  spawn(...args: readonly string[]): ChildProcessWithoutNullStreams {
    return spawn(this.#program, [...this.#usual, ...args]);
  }

  /** For a shell. */
  commandLine(...args: readonly string[]): string {
    return [this.#program, ...this.#usual, ...args].join(' ');
  }
}
