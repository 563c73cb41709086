import type { Clock } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';

/** A list the start waits for; an Informer is one. */
export interface FirstList {
  /** What is listed: `services`. */
  readonly name: string;
  /** Whether the first complete list was told. */
  readonly synced: boolean;
}

const firstAfterMs = 10_000;
const longestMs = 300_000;

/**
 * Says what the start still waits for, first after 10 s, then ever more rarely: a source that never
 * answers, or a folder that is not there, must not look like a quiet cluster. Ends with the last list.
 */
export async function tellWaiting(
  lists: readonly FirstList[],
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<void> {
  const startedMs = clock.monotonic();
  for (let waitMs = firstAfterMs; !signal.aborted; waitMs = Math.min(2 * waitMs, longestMs)) {
    await clock.sleep(waitMs, signal);
    const missing = lists.filter(({ synced }) => !synced).map(({ name }) => name);
    if (signal.aborted || missing.length === 0) return;
    log.warn(
      { missing, seconds: Math.round((clock.monotonic() - startedMs) / 1000) },
      `still waiting for the first list of ${missing.join(', ')}: no rules are written before it`,
    );
  }
}
