import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/**
 * Runs a program to its end with the standard streams of this process, and gives its exit status, as a shell does. When the signal
 * aborts it is asked to end, and waited for: it may have much to remove.
 */
export async function runInForeground(
  command: string,
  args: readonly string[],
  signal: AbortSignal,
): Promise<number> {
  signal.throwIfAborted();
  const child = spawn(command, args, { stdio: 'inherit' });
  const stop = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, killedBy) => {
        resolve(code ?? 128 + (killedBy === null ? 0 : constants.signals[killedBy]));
      });
    });
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
