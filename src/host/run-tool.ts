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
  nft: ['nftables', 'nftables'],
  sysctl: ['procps', 'procps-ng'],
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

/** The real tools, found in the PATH and the sbin folders, never through a shell; messages in English for the parsers. */
export const systemTools: ToolRunner = {
  async run(tool, args, options) {
    const result = await execa(tool, [...args], {
      reject: false,
      stripFinalNewline: false,
      maxBuffer: maxOutputCharacters,
      timeout: options.timeoutMs,
      cancelSignal: options.signal,
      env: { LC_ALL: 'C', PATH: toolPath(process.env['PATH']), ...options.env },
      ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    });
    if (result.exitCode === undefined || result.timedOut) throw failure(tool, options, result);
    return {
      exitCode: result.exitCode,
      stdout: result.stdout,
      stderr: result.stderr,
      durationMs: result.durationMs,
    };
  },
};

interface Ended {
  readonly timedOut: boolean;
  readonly isCanceled: boolean;
  readonly signal?: string | undefined;
  readonly code?: string | undefined;
  readonly cause?: unknown;
}

function failure(tool: string, options: ToolOptions, ended: Ended): SwitchyardError {
  const { cause } = ended;
  if (ended.isCanceled) {
    return new SwitchyardError('timeout', `${tool} was stopped because its caller stopped`, {
      cause,
      retryable: true,
    });
  }
  if (ended.timedOut) {
    return new SwitchyardError('timeout', `${tool} did not end within ${options.timeoutMs} ms`, {
      cause,
      retryable: true,
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
  const how = ended.signal === undefined ? (ended.code ?? 'an unknown reason') : ended.signal;
  return new SwitchyardError('tool', `${tool} was ended by ${how}`, { cause, retryable: true });
}
