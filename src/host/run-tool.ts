import process from 'node:process';
import { execa } from 'execa';

import { SwitchyardError } from '../error.ts';
import { toolPath } from './tool-path.ts';

/** How one run of a tool is bounded and fed. */
export interface ToolOptions {
  /** Sent to the tool's standard input. */
  readonly input?: string;
  /** The tool is killed after this time and the run rejects with code `timeout`. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly env?: Readonly<Record<string, string>>;
  /** Given what the tool prints as it comes, and the result then has none of it: for what may be very long. */
  readonly onOutput?: (text: string) => void;
}

/** What a tool said. A non-zero exit code is a result, not an error: callers know what it means. */
export interface ToolResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
}

/**
 * Runs programs of the machine. Rejects with a SwitchyardError where there is no exit code:
 * `missing` (no such program), `timeout` (killed, or the signal aborted), `tool` (ended by a signal
 * of its own, such as a segmentation fault).
 */
export interface ToolRunner {
  run(tool: string, args: readonly string[], options: ToolOptions): Promise<ToolResult>;
}

/** Debian and Fedora package of each tool, for the cure. */
const packages: Readonly<Record<string, readonly [apt: string, dnf: string]>> = {
  conntrack: ['conntrack', 'conntrack-tools'],
  ip: ['iproute2', 'iproute'],
  ipset: ['ipset', 'ipset'],
  ipvsadm: ['ipvsadm', 'ipvsadm'],
  modprobe: ['kmod', 'kmod'],
  mount: ['mount', 'util-linux'],
  nfacct: ['nfacct', 'nfacct'],
  nft: ['nftables', 'nftables'],
  sysctl: ['procps', 'procps-ng'],
  umount: ['mount', 'util-linux'],
};

/** What an operator does about a program that is not there. */
export function toolCure(tool: string): string {
  const [apt, dnf] =
    packages[tool] ??
    (/^ip6?tables/.test(tool) ? ['iptables', 'iptables'] : [undefined, undefined]);
  if (apt === undefined || dnf === undefined) return `put ${tool} into the PATH`;
  return `install it: apt-get install ${apt}, or dnf install ${dnf}`;
}

/** Output over this is refused by execa; a save of 30,000 services is about 20 MB. */
const maxOutputCharacters = 512 * 1024 * 1024;

/** In the environment of every tool: the process that runs it, so that a later one knows what was left over. */
export const toolOwnerVariable = 'SWITCHYARD_TOOL_OF';

/**
 * The real tools, found in the PATH and the sbin folders, never through a shell; messages in English for the parsers.
 * Each is the head of a process group of its own: what it starts ends with it.
 */
export const systemTools: ToolRunner = {
  async run(tool, args, options) {
    const child = execa(tool, [...args], {
      reject: false,
      stripFinalNewline: false,
      maxBuffer: maxOutputCharacters,
      buffer: { stdout: options.onOutput === undefined },
      detached: true,
      env: {
        LC_ALL: 'C',
        PATH: toolPath(process.env['PATH']),
        [toolOwnerVariable]: String(process.pid),
        ...options.env,
      },
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    });
    const { pid } = child;
    if (options.onOutput !== undefined) {
      child.stdout.setEncoding('utf8').on('data', options.onOutput);
    }
    const leash = new Leash(options, () => {
      if (pid !== undefined) endGroup(pid);
    });
    try {
      const result = await Promise.race([child, leash.escaped]);
      if (result === undefined || leash.pulled !== undefined || result.exitCode === undefined)
        throw failure(tool, options, leash.pulled, result ?? {});
      const { exitCode, stdout = '', stderr, durationMs } = result;
      return { exitCode, stdout, stderr, durationMs };
    } finally {
      leash.drop();
    }
  },
};

/** How long a tool may live on after SIGKILL, which takes effect only when the kernel lets go of it. */
const killGraceMs = 5000;

/** Ends a run when its time is up, its caller stops, or this process ends. */
class Leash {
  /** Why the tool was ended, if it was. */
  pulled: 'time' | 'caller' | undefined;
  /** Resolves where even that did not end it. */
  readonly escaped: Promise<undefined>;
  readonly #end: () => void;
  readonly #signal: AbortSignal;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  #escape: () => void = () => undefined;

  constructor({ timeoutMs, signal }: ToolOptions, end: () => void) {
    this.#end = end;
    this.#signal = signal;
    this.escaped = new Promise((resolve) => {
      this.#escape = () => resolve(undefined);
    });
    process.on('exit', end);
    signal.addEventListener('abort', this.#onStop, { once: true });
    if (signal.aborted) this.#pull('caller');
    else this.#wait(timeoutMs);
  }

  drop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    process.off('exit', this.#end);
    this.#signal.removeEventListener('abort', this.#onStop);
  }

  readonly #onStop = (): void => {
    this.#pull('caller');
  };

  /**
   * Waits in steps: of a time in which this process stood still (a stopped process, a paused machine) one step
   * counts, for the tool stood still too, or its end has not been noticed yet.
   */
  #wait(leftMs: number): void {
    if (this.pulled !== undefined) return;
    const stepMs = Math.min(leftMs, longestStepMs);
    this.#timer = setTimeout(() => {
      if (leftMs > stepMs) this.#wait(leftMs - stepMs);
      // timers come before what else happened meanwhile: the tool may have ended
      else setImmediate(() => setImmediate(() => this.#pull('time')));
    }, stepMs);
  }

  #pull(why: 'time' | 'caller'): void {
    if (this.#isOver || this.pulled !== undefined) return;
    this.pulled = why;
    clearTimeout(this.#timer);
    this.#end();
    this.#timer = setTimeout(this.#escape, killGraceMs);
  }
}

const longestStepMs = 1000;

function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}

interface Ended {
  readonly signal?: string | undefined;
  readonly code?: string | undefined;
  readonly cause?: unknown;
}

function failure(
  tool: string,
  options: ToolOptions,
  pulled: Leash['pulled'],
  ended: Ended,
): SwitchyardError {
  const { cause } = ended;
  if (pulled === 'caller') {
    return new SwitchyardError('timeout', `${tool} was stopped because its caller stopped`, {
      cause,
      retryable: true,
    });
  }
  if (pulled === 'time') {
    return new SwitchyardError('timeout', `${tool} did not end within ${options.timeoutMs} ms`, {
      cause,
      retryable: true,
      hint: 'it was ended, with what it had started; if it hangs again, run it by hand to see what it waits for',
    });
  }
  if (ended.code === 'ENOENT') {
    return new SwitchyardError('missing', `${tool} is not on this machine`, {
      cause,
      hint: toolCure(tool),
    });
  }
  if (ended.code === 'EACCES') {
    return new SwitchyardError('missing', `${tool} may not be run`, { cause, hint: 'run as root' });
  }
  if (ended.signal === undefined) {
    const why = ended.code ?? 'for an unknown reason';
    return new SwitchyardError('tool', `${tool} could not be run: ${why}`, {
      cause,
      retryable: true,
    });
  }
  return new SwitchyardError('tool', `${tool} was ended by ${ended.signal}`, {
    cause,
    retryable: true,
    ...(ended.signal === 'SIGKILL' && {
      hint: 'if nobody did it by hand, memory ran out: see dmesg, and raise the memory limit',
    }),
  });
}
