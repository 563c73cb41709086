import { basename } from 'node:path';
import { isLockFailure } from '../backends/iptables/apply.ts';
import type { Clock } from '../clock.ts';
import { SwitchyardError } from '../error.ts';
import type { ToolOptions, ToolRunner } from '../host/run-tool.ts';
import type { ToolEnd, ToolMetrics } from '../telemetry/tool-metrics.ts';

export interface MeteredToolsOptions {
  readonly tools: ToolRunner;
  readonly metrics: Pick<ToolMetrics, 'ran' | 'waitedForLock' | 'lockNotTaken'>;
  readonly clock: Clock;
  /** Whether a tool of ours waits for the xtables lock now. */
  readonly waitsForLock: () => Promise<boolean>;
}

/** Only these take the lock; those of the nft variant do not, and are never seen waiting. */
const locking = /^ip6?tables/;
const lookEveryMs = 50;

/** The same tools, with each run counted and timed, and the waits for the xtables lock. */
export function meteredTools(options: MeteredToolsOptions): ToolRunner {
  const { tools, metrics, clock } = options;
  return {
    async run(tool, args, run) {
      const name = basename(tool);
      const startMs = clock.monotonic();
      const over = new AbortController();
      const watching = locking.test(name) ? watchLock(options, over.signal) : undefined;
      const ran = (end: ToolEnd): void =>
        metrics.ran(name, end, (clock.monotonic() - startMs) / 1000);
      try {
        const result = await tools.run(tool, args, run);
        ran(result.exitCode === 0 ? 'ok' : 'refused');
        if (locking.test(name) && isLockFailure(result)) metrics.lockNotTaken();
        return result;
      } catch (error) {
        ran(endOf(error, run));
        throw error;
      } finally {
        over.abort();
        await watching;
      }
    },
  };
}

/** The kernel tells nobody how long a lock was waited for: one looks every now and then who waits. */
async function watchLock(
  { metrics, clock, waitsForLock }: MeteredToolsOptions,
  over: AbortSignal,
): Promise<void> {
  let waitedMs = 0;
  let lastMs = clock.monotonic();
  for (;;) {
    await clock.sleep(lookEveryMs, over);
    if (over.aborted) break;
    const waits = await waitsForLock();
    const nowMs = clock.monotonic();
    if (waits) waitedMs += nowMs - lastMs;
    lastMs = nowMs;
  }
  if (waitedMs > 0) metrics.waitedForLock(waitedMs / 1000);
}

function endOf(error: unknown, { signal }: ToolOptions): ToolEnd {
  if (signal.aborted) return 'stopped';
  if (!(error instanceof SwitchyardError)) return 'killed';
  if (error.code === 'timeout') return 'timeout';
  return error.code === 'missing' ? 'missing' : 'killed';
}
