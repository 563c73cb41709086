import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

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
    const options = { timeout: 60_000 };
    return (await run(this.#program, [...this.#usual, ...args], options)).stdout;
  }
}
