import { readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

import { SwitchyardError } from '../error.ts';
import type { ToolRunner } from './run-tool.ts';

/** What is mounted somewhere, as /proc/self/mountinfo has it (proc_pid_mountinfo(5)). */
export interface MountPoint {
  readonly path: string;
  /** `tmpfs`, `ext4`. */
  readonly type: string;
  /** Mounts below it appear in other namespaces, too. */
  readonly shared: boolean;
}

/** The mounts of this process's namespace. All changes reject with a SwitchyardError that says what mount(8) said. */
export interface Mounts {
  /** In the order in which they were mounted. */
  list(): Promise<readonly MountPoint[]>;
  /** Whether a filesystem begins there, as mountpoint(1) finds out: a bind of the same filesystem is not told. Costs nothing, unlike a list. */
  begins(path: string): Promise<boolean>;
  tmpfs(target: string, options: TmpfsOptions, signal: AbortSignal): Promise<void>;
  /** `source` is not resolved again: a link of /proc names what it is open for, whatever happens to its path meanwhile. */
  bind(source: string, target: string, signal: AbortSignal): Promise<void>;
  unmount(target: string, signal: AbortSignal): Promise<void>;
  /** What is mounted there and below is seen in namespaces that were made from this one. */
  share(target: string, signal: AbortSignal): Promise<void>;
}

export interface TmpfsOptions {
  /** Without: half of the memory, the kernel's own choice. */
  readonly sizeBytes?: bigint;
  /** Octal: `0777`. */
  readonly mode: string;
}

const timeoutMs = 30_000;

/** Reads the kernel's table, and has mount(8) and umount(8) change it. */
export class SystemMounts implements Mounts {
  readonly #tools: ToolRunner;
  /** Undefined: not tried yet. */
  #knowsNoswap: boolean | undefined;

  constructor(tools: ToolRunner) {
    this.#tools = tools;
  }

  async list(): Promise<readonly MountPoint[]> {
    return parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
  }

  async begins(path: string): Promise<boolean> {
    const [here, above] = await Promise.all([stat(path), stat(dirname(path))]);
    return here.dev !== above.dev;
  }

  /** Not to be swapped out where the kernel knows how (6.4 and later): secrets lie there. */
  async tmpfs(
    target: string,
    { sizeBytes, mode }: TmpfsOptions,
    signal: AbortSignal,
  ): Promise<void> {
    const options = [`mode=${mode}`, ...(sizeBytes === undefined ? [] : [`size=${sizeBytes}`])];
    const mount = async (all: readonly string[]): Promise<void> =>
      this.#run('mount', ['-n', '-t', 'tmpfs', '-o', all.join(','), 'tmpfs', target], signal);
    if (this.#knowsNoswap !== false) {
      try {
        await mount([...options, 'noswap']);
        this.#knowsNoswap = true;
        return;
      } catch (error) {
        if (this.#knowsNoswap === true || signal.aborted) throw error;
      }
    }
    await mount(options);
    this.#knowsNoswap = false;
  }

  async bind(source: string, target: string, signal: AbortSignal): Promise<void> {
    await this.#run('mount', ['-n', '-c', '--bind', source, target], signal);
  }

  async unmount(target: string, signal: AbortSignal): Promise<void> {
    await this.#run('umount', ['-n', '-c', target], signal);
  }

  async share(target: string, signal: AbortSignal): Promise<void> {
    await this.#run('mount', ['-n', '--make-rshared', target], signal);
  }

  async #run(tool: string, args: readonly string[], signal: AbortSignal): Promise<void> {
    const { exitCode, stderr } = await this.#tools.run(tool, args, { timeoutMs, signal });
    if (exitCode === 0) return;
    const message = `${tool} ${args.join(' ')}: ${stderr.trim() || `ended with ${exitCode}`}`;
    throw new SwitchyardError('tool', message, { retryable: true });
  }
}

/** Reads the text of a mountinfo file. */
export function parseMountInfo(text: string): readonly MountPoint[] {
  return text.split('\n').flatMap((line) => {
    // 36 35 98:0 /root /point options shared:1 master:2 - type source super-options
    const fields = line.split(' ');
    const end = fields.indexOf('-', 6);
    const path = fields[4];
    const type = fields[end + 1];
    if (end === -1 || path === undefined || type === undefined) return [];
    const shared = fields.slice(6, end).some((field) => field.startsWith('shared:'));
    return [{ path: unescaped(path), type, shared }];
  });
}

/** Spaces, tabs, newlines and backslashes are octal there. */
function unescaped(path: string): string {
  return path.replaceAll(/\\(?<code>[0-7]{3})/g, (_found, code: string) =>
    String.fromCodePoint(Number.parseInt(code, 8)),
  );
}
