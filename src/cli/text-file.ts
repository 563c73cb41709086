import { readFile } from 'node:fs/promises';
import { SwitchyardError, errorText } from '../error.ts';
import type { CommandIo } from './command.ts';

/** A file that a flag names, `-` for the standard input. */
export async function readTextFile(
  flag: string,
  path: string,
  io: Pick<CommandIo, 'stdin'>,
): Promise<string> {
  if (path === '-') return io.stdin();
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new SwitchyardError('usage', `--${flag}: cannot read ${path}: ${errorText(cause)}`, {
      cause,
      hint: 'name a file that this user may read, or - for the standard input',
    });
  }
}
