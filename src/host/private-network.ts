import { spawn } from 'node:child_process';
import process from 'node:process';
import { text } from 'node:stream/consumers';

import { SwitchyardError, errorText } from '../error.ts';
import { toolCure } from './run-tool.ts';
import type { ToolRunner } from './run-tool.ts';
import { findTool, toolPath } from './tool-path.ts';

const startTimeoutMs = 10_000;

/** Any file can be locked; with this one a probe waits for nobody on the node, nobody waits for it, and no file is made. */
const lockFile = '/dev/null';

/**
 * A network namespace that nobody else is in, and that ends with `close`, or with this process: what is tried in it the node
 * never sees. Only kernel modules that are loaded for it stay.
 */
export class PrivateNetwork {
  /** Runs tools inside. */
  readonly tools: ToolRunner;
  readonly #close: () => Promise<void>;

  private constructor(tools: ToolRunner, close: () => Promise<void>) {
    this.tools = tools;
    this.#close = close;
  }

  /**
   * `tools` are those of the machine. Without `isPrivileged` it is made in a user namespace of its own too, which many systems allow everybody. Rejects with code
   * `missing` where the system allows neither, or has no `unshare`.
   */
  static async open(
    tools: ToolRunner,
    isPrivileged: boolean,
    signal: AbortSignal,
  ): Promise<PrivateNetwork> {
    signal.throwIfAborted();
    if ((await findTool('nsenter')) === undefined) throw unavailable('nsenter is not here');
    const own = isPrivileged ? ['--net'] : ['--user', '--map-root-user', '--net'];
    // cat ends when its standard input does: with this process at the latest
    const holder = spawn('unshare', [...own, 'sh', '-c', 'echo ready; exec cat'], {
      env: { PATH: toolPath(process.env['PATH']), LC_ALL: 'C' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    const gone = new Promise<string>((resolve) => {
      holder.on('error', (error) => resolve(errorText(error)));
      void text(holder.stderr).then(resolve, (error: unknown) => resolve(errorText(error)));
    });
    const close = async (): Promise<void> => {
      holder.kill('SIGKILL');
      await gone;
    };
    const isReady = new Promise<true>((resolve) => {
      holder.stdout.once('data', () => resolve(true));
    });
    const timer = setTimeout(() => holder.kill('SIGKILL'), startTimeoutMs);
    const answer = await Promise.race([isReady, gone]);
    clearTimeout(timer);
    if (answer === true && holder.pid !== undefined) {
      return new PrivateNetwork(toolsIn(holder.pid, tools, isPrivileged), close);
    }
    await close();
    throw unavailable(String(answer));
  }

  async close(): Promise<void> {
    await this.#close();
  }
}

function unavailable(why: string): SwitchyardError {
  return new SwitchyardError('missing', `no private network namespace: ${why.trim()}`, {
    hint: 'run it on the host as root (CAP_SYS_ADMIN), with unshare and nsenter of the package util-linux; an agent’s log says it too (features of kernel and tools)',
  });
}

/** The tools of the machine, inside the namespaces of a process. */
function toolsIn(pid: number, tools: ToolRunner, isPrivileged: boolean): ToolRunner {
  const folder = `/proc/${pid}/ns`;
  const user = isPrivileged ? [] : [`--user=${folder}/user`, '--preserve-credentials'];
  return {
    async run(tool, args, options) {
      // nsenter's own words for a missing program are no error of ours
      if ((await findTool(tool)) === undefined) {
        throw new SwitchyardError('missing', `${tool} is not on this machine`, {
          hint: toolCure(tool),
        });
      }
      return tools.run('nsenter', [...user, `--net=${folder}/net`, '--', tool, ...args], {
        ...options,
        env: { ...options.env, XTABLES_LOCKFILE: lockFile },
      });
    },
  };
}
