import { SwitchyardError } from '../../error.ts';
import { toolCure } from '../../host/run-tool.ts';
import type { ToolResult, ToolRunner } from '../../host/run-tool.ts';

/** Something this mode cannot do without, and what to do about it. */
export interface Missing {
  /** `the tool ipvsadm`, `scheduler mh`. */
  readonly name: string;
  /** The tool's words. */
  readonly reason: string;
  readonly cure: string;
}

export const privilegeCure =
  "run as root, with CAP_NET_ADMIN in the host's network namespace (hostNetwork, privileged)";

/** How a tool was asked: what is tried costs the kernel next to nothing, unless it loads a module. */
const timeoutMs = 60_000;

/** What the tool answers, or that it is not there. Other failures reject: they pass, or have to be looked at. */
export async function ask(
  tools: ToolRunner,
  tool: string,
  args: readonly string[],
  signal: AbortSignal,
  input?: string,
): Promise<ToolResult | Missing> {
  try {
    const options = { timeoutMs, signal, ...(input === undefined ? {} : { input }) };
    return await tools.run(tool, args, options);
  } catch (error) {
    if (!(error instanceof SwitchyardError) || error.code !== 'missing') throw error;
    const cure = error.hint ?? toolCure(tool);
    return { name: `the tool ${tool}`, reason: error.message, cure };
  }
}

export function isMissing(answer: object): answer is Missing {
  return 'cure' in answer;
}

/** What is wrong with an answer that says no: rights come before everything else that may be in the way. */
export function refusal(
  name: string,
  { stderr }: Pick<ToolResult, 'stderr'>,
  cure: string,
): Missing {
  const reason = stderr.trim().split('\n').filter(isTelling).join('; ');
  const isForbidden = /permission denied|operation not permitted|must be root/i.test(stderr);
  return { name, reason, cure: isForbidden ? privilegeCure : cure };
}

/** ipvsadm asks on behalf of whoever has read about it, and modprobe is tried for it. */
function isTelling(line: string): boolean {
  return !/^(?:modprobe: FATAL|Are you sure)/.test(line);
}
