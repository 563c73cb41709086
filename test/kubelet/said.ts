import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What a command said, and its exit status. */
export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command to its end, whatever that is; rejects where it has no exit status. */
export async function said(file: string, args: readonly string[], timeout = 60_000): Promise<Said> {
  const options = { maxBuffer: 64 * 1024 * 1024, timeout };
  try {
    const { stdout, stderr } = await run(file, args, options);
    return { code: 0, out: stdout, err: stderr };
  } catch (error) {
    const failed = error as {
      readonly code?: unknown;
      readonly stdout?: string;
      readonly stderr?: string;
    };
    if (typeof failed.code !== 'number') throw error;
    return { code: failed.code, out: failed.stdout ?? '', err: failed.stderr ?? '' };
  }
}
