import { constants } from 'node:os';
import process from 'node:process';

/** Signals closer together than this are one: npm passes on a Ctrl-C that the terminal has sent us too. */
const sameSignalMs = 1000;

/**
 * Runs a program that makes namespaces, folders and processes, to its end. The first SIGINT or SIGTERM aborts the signal
 * that `work` gets, and what `work` removes then is waited for; the next one ends the process at once. What is left
 * by that, or by SIGKILL, the next run removes: names carry the process id.
 */
export async function interruptible(
  work: (interrupted: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  let firstMs = 0;
  let status = 0;
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      const isSecond = stop.signal.aborted && performance.now() - firstMs > sameSignalMs;
      if (isSecond) process.exit(status);
      if (stop.signal.aborted) return;
      firstMs = performance.now();
      status = 128 + constants.signals[name];
      process.stderr.write(`${name}: removing what was made …\n`);
      stop.abort(new Error(`ended by ${name}`));
    });
  }
  try {
    await work(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  }
  // What was going on may still wait for something that will not come any more.
  if (stop.signal.aborted) process.exit(status);
}

/** The result of `work`, unless the signal aborts before: then nobody waits for it any longer. */
export async function unlessAborted<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  if (signal === undefined) return work();
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => {
    reject(signal.reason);
  };
  signal.addEventListener('abort', abort);
  try {
    return await Promise.race([work(), promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
