import { SwitchyardError } from '../../error.ts';
import { toolCure } from '../../host/run-tool.ts';
import type { ToolResult } from '../../host/run-tool.ts';

/** What ipvsadm said. */
export interface Complaint {
  /** A line each, of what the kernel refused, in the order of the input. */
  readonly words: readonly string[];
  /** The tool itself could not read a line, and did nothing from there on. */
  readonly isUnread: boolean;
}

/**
 * `ipvsadm --restore` (1.31) goes on after what the kernel refuses, says a line for each without naming it, and ends
 * with the status of the last line alone. What its parser refuses ends it at once.
 */
export function complaintOf({ exitCode, stderr }: ToolResult): Complaint | undefined {
  const words = stderr.split('\n').filter((line) => line.trim() !== '');
  if (exitCode === 0 && words.length === 0) return undefined;
  if (/initialize ipvs/.test(stderr)) {
    throw new SwitchyardError('missing', `ipvs cannot be used: ${words.join(' ')}`, {
      retryable: true,
      hint: `load the module and run as root: modprobe ip_vs; ${toolCure('ipvsadm')}`,
    });
  }
  const isUnread = exitCode === 2 || /Try `ipvsadm/.test(stderr);
  return { words: words.length === 0 ? [`exit code ${exitCode}`] : words, isUnread };
}
