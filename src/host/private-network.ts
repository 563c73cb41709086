import { spawn } from 'node:child_process';
import process from 'node:process';
import { text } from 'node:stream/consumers';

import { SwitchyardError, errorText } from '../error.ts';
import { Namespaces } from './namespaces.ts';
import { toolCure } from './run-tool.ts';
import type { ToolRunner } from './run-tool.ts';
import { findTool, toolPath } from './tool-path.ts';

const startTimeoutMs = 10_000;

/** Any file can be locked; with this one a probe waits for nobody on the node, nobody waits for it, and no file is made. */
const lockFile = '/dev/null';

/** How one is made. */
export interface PrivateNetworkOptions {
  /** Those of the machine. */
  readonly tools: ToolRunner;
  /** Root with CAP_SYS_ADMIN; whoever is not needs a user namespace too, which many systems allow everybody. */
  readonly isPrivileged: boolean;
  /** Where a tool is; tests hide some. */
  readonly find?: (tool: string) => Promise<string | undefined>;
}

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

  /** Rejects with code `missing` where the system does not allow it, or lacks the programs. */
  static async open(
    { tools, isPrivileged, find = findTool }: PrivateNetworkOptions,
    signal: AbortSignal,
  ): Promise<PrivateNetwork> {
    signal.throwIfAborted();
    const has = async (tool: string): Promise<boolean> => (await find(tool)) !== undefined;
    if ((await has('unshare')) && (await has('nsenter'))) {
      const { pid, close } = await holdNamespace(isPrivileged);
      return new PrivateNetwork(withinProcess(pid, tools, isPrivileged, find), close);
    }
    if (!isPrivileged) throw unavailable('unshare or nsenter is not here');
    if (!(await has('ip'))) throw unavailable('neither unshare and nsenter nor ip are here');
    return PrivateNetwork.#named(tools, find);
  }

  async close(): Promise<void> {
    await this.#close();
  }

  /** Such as in the image: it has a name in /run/netns meanwhile, and one that a killed process has left goes with the next. */
  static async #named(tools: ToolRunner, find: Find): Promise<PrivateNetwork> {
    const namespaces = new Namespaces({ tools, prefix: 'swydoctor' });
    try {
      await namespaces.removeLeftovers();
      await namespaces.add(['probe']);
    } catch (error) {
      await namespaces.close().catch(() => {}); // there may be none yet
      throw unavailable(errorText(error));
    }
    const enter = ['netns', 'exec', namespaces.name('probe')];
    return new PrivateNetwork(inside('ip', enter, tools, find), async () => namespaces.close());
  }
}

type Find = NonNullable<PrivateNetworkOptions['find']>;

interface Held {
  readonly pid: number;
  readonly close: () => Promise<void>;
}

/** A process that does nothing but keep a namespace, and has no name for it. */
async function holdNamespace(isPrivileged: boolean): Promise<Held> {
  const own = isPrivileged ? ['--net'] : ['--user', '--map-root-user', '--net'];
  // cat ends when its standard input does: with this process at the latest
  const holder = spawn('unshare', [...own, 'cat'], {
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
  holder.stdin.on('error', () => {}); // it has ended: said by `gone`
  holder.stdin.write('ready\n');
  const timer = setTimeout(() => holder.kill('SIGKILL'), startTimeoutMs);
  const answer = await Promise.race([isReady, gone]);
  clearTimeout(timer);
  if (answer === true && holder.pid !== undefined) return { pid: holder.pid, close };
  await close();
  throw unavailable(String(answer));
}

function unavailable(why: string): SwitchyardError {
  return new SwitchyardError('missing', `no private network namespace: ${why.trim()}`, {
    hint: 'run it on the host as root (CAP_SYS_ADMIN), with unshare and nsenter of the package util-linux; an agent’s log says it too (features of kernel and tools)',
  });
}

/** The tools of the machine, inside the namespaces of a process. */
function withinProcess(
  pid: number,
  tools: ToolRunner,
  isPrivileged: boolean,
  find: Find,
): ToolRunner {
  const folder = `/proc/${pid}/ns`;
  const user = isPrivileged ? [] : [`--user=${folder}/user`, '--preserve-credentials'];
  return inside('nsenter', [...user, `--net=${folder}/net`, '--'], tools, find);
}

/** Tools that another one starts inside. */
function inside(by: string, words: readonly string[], tools: ToolRunner, find: Find): ToolRunner {
  return {
    async run(tool, args, options) {
      // what the other one says of a missing program is no error of ours
      if ((await find(tool)) === undefined) {
        throw new SwitchyardError('missing', `${tool} is not on this machine`, {
          hint: toolCure(tool),
        });
      }
      const env = { ...options.env, XTABLES_LOCKFILE: lockFile };
      return tools.run(by, [...words, tool, ...args], { ...options, env });
    },
  };
}
