import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import process from 'node:process';
import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../clock.ts';

/** No more of what a program complains of is repeated. */
const maxComplaint = 500;
/** In characters; credentials are much less. */
const maxOutput = 1024 * 1024;

/**
 * Runs a program that is no tool of the node (a credential plugin of a kubeconfig, a credential provider for registries) with exactly the
 * environment given, and gives its standard output. Rejects where it cannot be started, ends with another
 * status than 0, says too much, or is killed: after `timeoutMs`, or by `signal`. What it started is killed with it.
 */
export async function runProgram(
  { command, args, env, timeoutMs, input = '' }: ProgramRun,
  clock: Clock,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  // a group of its own: a shell script's children end with it
  const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  // one that reads nothing, or cannot be started, is judged by how it ends
  child.stdin.on('error', () => {}).end(input);
  const over = new AbortController();
  const guard = async (): Promise<void> => {
    await clock.sleep(timeoutMs, over.signal);
    if (over.signal.aborted) return;
    end(child, new Error(`gave no answer for ${timeoutMs / 1000} s and was ended`));
  };
  const guarding = guard();
  const stop = (): void => end(child, signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await output(child);
  } finally {
    signal.removeEventListener('abort', stop);
    over.abort();
    await guarding;
  }
}

/** What {@link runProgram} runs. */
interface ProgramRun {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs: number;
  readonly input?: string;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

async function output(child: Child): Promise<string> {
  let given = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    given += text;
    if (given.length > maxOutput) end(child, new Error(`said more than ${maxOutput} characters`));
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (complaint.length <= maxComplaint) complaint += text;
  });
  const code = await new Promise<string>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, killedBy) => resolve(String(status ?? killedBy)));
  });
  if (code === '0') return given;
  const said = complaint.trim().slice(0, maxComplaint);
  throw new Error(`ended with ${code} ${said === '' ? 'and said nothing' : `and said: ${said}`}`);
}

function end(child: Child, reason: Error): void {
  child.emit('error', reason);
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // gone already
  }
}
