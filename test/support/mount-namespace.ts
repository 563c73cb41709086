import { execFile } from 'node:child_process';
import process from 'node:process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Runs a program of the tests in a mount namespace of its own, where nothing that it mounts is seen outside; all of it goes with the
 * program. Gives what it prints, which has to be JSON.
 */
export async function inMountNamespace(program: string, args: readonly string[]): Promise<unknown> {
  const command = ['--mount', '--propagation', 'private', process.execPath, program, ...args];
  const { stdout } = await run('unshare', command, { timeout: 50_000, maxBuffer: 1 << 24 });
  return JSON.parse(stdout);
}
