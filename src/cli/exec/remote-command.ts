import { SwitchyardError } from '../../error.ts';
import type { Upgraded } from '../admin-client.ts';
import type { ProcessStreams } from '../process-streams.ts';
import { SpdyConnection } from './spdy-connection.ts';
import type { SpdyStream, StreamReader } from './spdy-connection.ts';

/** Which streams a command has; a terminal has no error stream of its own. */
export interface CommandStreams {
  readonly stdin: boolean;
  readonly tty: boolean;
}

/** Newest first; older ones do not say how a command ended. */
export const commandProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;

/** The headers with which the connection for a command is asked for. */
export const commandUpgrade = {
  Upgrade: 'SPDY/3.1',
  'X-Stream-Protocol-Version': commandProtocols.join(', '),
} as const;

/** What of the terminal on this side the other one follows. */
export interface TerminalSize {
  readonly size: () => { readonly rows: number; readonly columns: number } | undefined;
  /** Calls back with each change until `signal` aborts. */
  readonly changes: (changed: () => void, signal: AbortSignal) => void;
}

export interface RemoteCommand {
  readonly connection: Upgraded;
  readonly asked: CommandStreams;
  readonly local: ProcessStreams;
  readonly terminal: TerminalSize;
}

/**
 * Speaks to a command that was begun by {@link commandUpgrade}: input until its end, output, errors, the size of the terminal. Resolves with
 * its exit code; rejects where it could not be run, or the connection broke.
 */
export async function remoteCommand(
  { connection, asked, local, terminal }: RemoteCommand,
  signal: AbortSignal,
): Promise<number> {
  const { socket, head, headers } = connection;
  const spoken = String(headers['x-stream-protocol-version'] ?? '');
  if (!commandProtocols.some((each) => each === spoken)) {
    socket.destroy();
    throw new SwitchyardError(
      'source',
      `the container runtime speaks ${spoken || 'an unknown protocol'}`,
    );
  }
  const spdy = new SpdyConnection(socket);
  const over = new AbortController();
  const verdict: Buffer[] = [];
  const open = (streamType: string, data: StreamReader['data'] = nobody): Opened => {
    const ended = Promise.withResolvers<void>();
    return {
      ended: ended.promise,
      stream: spdy.open({ streamtype: streamType }, { data, end: () => ended.resolve() }),
    };
  };
  const errors = open('error', async (piece) => void verdict.push(piece));
  const input = asked.stdin ? open('stdin') : undefined;
  const outputs = [
    open('stdout', async (piece) => written(local.stdout, piece)),
    ...(asked.tty ? [] : [open('stderr', async (piece) => written(local.stderr, piece))]),
  ];
  const size = asked.tty ? open('resize') : undefined;
  const running = spdy.run(head, signal);
  if (input !== undefined) void sendInput(local.stdin, input.stream);
  if (size !== undefined) followSize(size.stream, terminal, over.signal);
  await Promise.all([errors, ...outputs].map(async (each) => each.ended));
  over.abort();
  spdy.close();
  const broken = await running;
  return exitCode(Buffer.concat(verdict).toString(), broken);
}

/** Nothing comes where only we speak. */
const nobody: StreamReader['data'] = async () => {};

interface Opened {
  readonly stream: SpdyStream;
  readonly ended: Promise<void>;
}

/** To its end; who owns it ends it where the command does not wait for that. */
async function sendInput(input: ProcessStreams['stdin'], stream: SpdyStream): Promise<void> {
  try {
    for await (const piece of input) await stream.write(Buffer.from(piece as Buffer));
  } catch {
    // Nothing more can be read: that is the end of it.
  }
  stream.end();
}

function followSize(stream: SpdyStream, terminal: TerminalSize, over: AbortSignal): void {
  const send = (): void => {
    const size = terminal.size();
    if (size === undefined) return;
    const text = `${JSON.stringify({ Width: size.columns, Height: size.rows })}\n`;
    void stream.write(Buffer.from(text));
  };
  send();
  terminal.changes(send, over);
}

/** A reader that is gone holds nothing up: the command may go on without it. */
async function written(output: ProcessStreams['stdout'], piece: Buffer): Promise<void> {
  if (output.destroyed) return;
  await new Promise<void>((resolve) => {
    output.write(piece, () => resolve());
  });
}

interface Verdict {
  readonly status?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: {
    readonly causes?: readonly { readonly reason?: string; readonly message?: string }[];
  };
}

/** What the runtime says at the end, a v1 Status. */
function exitCode(text: string, broken: string | undefined): number {
  const verdict = verdictOf(text);
  if (verdict === undefined) {
    const why = broken === undefined ? '' : `: ${broken}`;
    throw new SwitchyardError('source', `the connection broke before the command had ended${why}`);
  }
  if (verdict.status === 'Success') return 0;
  const cause = verdict.details?.causes?.find(({ reason }) => reason === 'ExitCode');
  const code = Number(cause?.message);
  if (verdict.reason === 'NonZeroExitCode' && Number.isInteger(code)) return code;
  throw new SwitchyardError('source', `the command could not be run: ${verdict.message ?? text}`);
}

function verdictOf(text: string): Verdict | undefined {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text) as Verdict;
  } catch {
    return { message: text };
  }
}
