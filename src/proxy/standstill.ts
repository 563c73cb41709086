import type { Clock } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';

const stepMs = 2000;
/** A busy machine is late by less. */
const noticedMs = 2000;

/**
 * Notices when this process stood still: it was stopped, its machine paused, or something in it took all its time. Tells
 * for how long, and says so in the log, because whoever looks for a gap in the service finds the reason there.
 */
export async function watchStandstills(
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  onStandstill: (ms: number) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const startMs = clock.monotonic();
    await clock.sleep(stepMs, signal);
    const lateMs = clock.monotonic() - startMs - stepMs;
    if (signal.aborted || lateMs < noticedMs) continue;
    onStandstill(lateMs);
    const seconds = Math.round(lateMs / 1000);
    log.warn(
      { seconds },
      `this process stood still for ${seconds} s (it was stopped, or the machine was paused or overloaded); it catches up now`,
    );
  }
}
