import type { Clock } from '../clock.ts';
import { SwitchyardError } from '../error.ts';

/** Bookmarks come about once a minute on a quiet watch; this much silence means a frozen peer. */
export const SILENCE_MS = 90_000;

/**
 * Runs `work` with a signal that aborts when `signal` does, or when `alive` was not called for
 * `silenceMs`: a peer that froze without closing its connection says nothing, ever.
 */
export async function withWatchdog<R>(
  clock: Clock,
  silenceMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal, alive: () => void) => Promise<R>,
): Promise<R> {
  const inner = new AbortController();
  const finished = new AbortController();
  let aliveAtMs = clock.monotonic();
  const stop = (): void => inner.abort(signal.reason);
  const guard = async (): Promise<void> => {
    while (!finished.signal.aborted) {
      const restMs = aliveAtMs + silenceMs - clock.monotonic();
      if (restMs <= 0) {
        const reason = `no byte for ${Math.round(silenceMs / 1000)} s`;
        inner.abort(new SwitchyardError('timeout', reason, { retryable: true }));
        return;
      }
      await clock.sleep(restMs, finished.signal);
    }
  };
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  const guarding = guard();
  try {
    return await work(inner.signal, () => {
      aliveAtMs = clock.monotonic();
    });
  } finally {
    finished.abort();
    signal.removeEventListener('abort', stop);
    await guarding;
  }
}
