import { main } from '../../src/cli/main.ts';

/** What a command said and how it ended. */
export interface CommandRun {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs the program in this process with `argv` as the system hands it over (`node`, the script, then the
 * words), without an environment. `signal` tells it to stop.
 */
export async function runCommand(
  argv: readonly string[],
  { stdin = '', signal = new AbortController().signal } = {},
): Promise<CommandRun> {
  const said = { stdout: '', stderr: '' };
  const status = await main([...argv], {
    stdout: (text) => void (said.stdout += text),
    stderr: (text) => void (said.stderr += text),
    stdin: async () => stdin,
    env: {},
    signal,
  });
  return { status, ...said };
}
