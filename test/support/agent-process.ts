import { join } from 'node:path';
import process from 'node:process';
import type { NamespaceProcess, Namespaces } from '../../src/host/namespaces.ts';

const sources = join(import.meta.dirname, '../../src/cli/main.ts');

/** What a start costs shows on a slow machine: the virtual machine has a bundle, made outside of it. */
export const program = process.env['SWITCHYARD_BUNDLE'] ?? sources;

/** The command of our proxy: from the sources, or of a bundle. Nothing of it stands where an agent of the machine would. */
export function proxyCommand(file = program): readonly string[] {
  return [process.execPath, file, 'proxy', '--oom-score-adj=0', '--admin-socket='];
}

/** A proxy as a process of its own in the node's namespace; ours unless `command` is another. */
export class AgentProcess {
  readonly #child: NamespaceProcess;
  #log = '';

  constructor(
    namespaces: Namespaces,
    env: Readonly<Record<string, string>>,
    flags: readonly string[],
    [tool = '', ...args]: readonly string[] = proxyCommand(),
  ) {
    // The machine's own state file is not the tests' to write; kube-proxy knows no such flag.
    const isOurs = args.includes('proxy') && !flags.some((flag) => flag.startsWith('--state-file'));
    const record = isOurs ? ['--state-file='] : [];
    this.#child = namespaces.spawn('node', tool, [...args, ...record, ...flags], env);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        this.#log += chunk.toString();
      });
    }
  }

  /** Its process. */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the agent was not started');
    return this.#child.pid;
  }

  /** Everything it has said so far. */
  get log(): string {
    return this.#log;
  }

  /** Asks it to end, as systemd or a kubelet would; answers its exit status. */
  async stop(): Promise<number | undefined> {
    this.#child.kill('SIGTERM');
    return (await this.#child).exitCode;
  }

  /** Resolves with its exit status when it has ended, whatever ended it; undefined: a signal. */
  async ended(): Promise<number | undefined> {
    return (await this.#child).exitCode;
  }

  /** Lets it stand still: SIGSTOP. */
  freeze(): void {
    this.#child.kill('SIGSTOP');
  }

  /** Lets it go on: SIGCONT. */
  thaw(): void {
    this.#child.kill('SIGCONT');
  }

  /** Ends it the hard way. */
  async crash(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#child;
  }
}
