import { Code } from '@connectrpc/connect';
import { CriError, criText } from '../cri/cri-error.ts';
import { expand } from '../environment/expand.ts';
import type { Container } from '../pod/container.ts';
import { keptOutputBytes } from './outcome.ts';
import type { ProbeOutcome } from './outcome.ts';

/** ExecSync of CRI, as far as a probe needs it. */
export type ExecSync = (
  request: {
    readonly containerId: string;
    readonly cmd: string[];
    /** Seconds; 0n: none. */
    readonly timeout: bigint;
  },
  options: { readonly signal: AbortSignal },
) => Promise<{
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
  readonly exitCode: number;
}>;

export interface CommandProbe {
  readonly container: Container;
  /** `containerd://…`. */
  readonly containerId: string;
  readonly command: readonly string[];
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export async function probeCommand(
  execSync: ExecSync,
  { container, containerId, command, timeoutMs, signal }: CommandProbe,
): Promise<ProbeOutcome> {
  const cmd = expandStatic(command, container);
  try {
    const answer = await execSync(
      {
        containerId: containerId.replace(/^.*:\/\//, ''),
        cmd,
        timeout: BigInt(Math.ceil(timeoutMs / 1000)),
      },
      { signal },
    );
    const output = Buffer.concat([answer.stdout, answer.stderr])
      .subarray(0, keptOutputBytes)
      .toString();
    return { kind: answer.exitCode === 0 ? 'success' : 'failure', output };
  } catch (error) {
    if (error instanceof CriError && error.grpcCode === Code.DeadlineExceeded) {
      const text = JSON.stringify(cmd.join(' '));
      return {
        kind: 'failure',
        output: `command timed out: ${text} timed out after ${timeoutMs / 1000}s`,
      };
    }
    return { kind: 'error', output: criText(error) };
  }
}

/** `$(NAME)` by those variables of the container that have a value in its spec; `$$(NAME)` stays `$(NAME)`. */
function expandStatic(command: readonly string[], { env }: Container): string[] {
  const values = new Map(
    env.flatMap(({ name, value, valueFrom }) =>
      valueFrom === undefined ? [[name, value ?? ''] as const] : [],
    ),
  );
  return command.map((text) => expand(text, (name) => values.get(name)));
}
