import type { Clock } from '../../clock.ts';
import { errorText } from '../../error.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import type { Log } from '../../telemetry/log.ts';

/**
 * Empty chains in mangle, as upstream's kubelet has them: by the first, programs in containers see which variant of iptables this node
 * uses; with the second, whoever flushes the tables is noticed.
 */
const hint = 'KUBE-IPTABLES-HINT';
const canary = 'KUBE-KUBELET-CANARY';
const programs = ['iptables', 'ip6tables'] as const;
const lookEveryMs = 60_000;
const timeoutMs = 30_000;

export interface ChainsOptions {
  readonly tools: ToolRunner;
  readonly clock: Clock;
  readonly log: Log;
}

/** Keeps the chains in both families, until `signal`: looked at each minute, made again where they are gone. */
export async function keepIptablesChains(
  options: ChainsOptions,
  signal: AbortSignal,
): Promise<void> {
  const told = new Set<string>();
  while (!signal.aborted) {
    for (const program of programs) {
      try {
        await ensure(program, options.tools, signal);
        told.delete(program);
      } catch (error) {
        if (signal.aborted) return;
        // A node without the tool, or without a family: once is enough.
        if (!told.has(program)) {
          options.log.warn({ program }, `${hint} could not be made: ${errorText(error)}`);
        }
        told.add(program);
      }
    }
    await options.clock.sleep(lookEveryMs, signal);
  }
}

async function ensure(program: string, tools: ToolRunner, signal: AbortSignal): Promise<void> {
  const run = async (
    ...args: readonly string[]
  ): Promise<{ exitCode: number; stdout: string; stderr: string }> =>
    tools.run(program, ['-w', '5', '-t', 'mangle', ...args], { timeoutMs, signal });
  if ((await run('-S', canary)).exitCode === 0) return;
  for (const chain of [hint, canary]) {
    const { exitCode, stderr } = await run('-N', chain);
    if (exitCode !== 0 && !stderr.includes('exists')) throw new Error(stderr.trim());
  }
}
