import process from 'node:process';
import type { Readable, Writable } from 'node:stream';
import { systemCode } from '../error.ts';

/** A place that bytes come from; perhaps a terminal. */
export type Input = Readable & {
  readonly isTTY?: boolean;
  readonly setRawMode?: (on: boolean) => unknown;
};

/** A place that bytes go to; perhaps a terminal. */
export type Output = Writable & {
  readonly isTTY?: boolean;
  readonly rows?: number;
  readonly columns?: number;
};

/** The standard streams byte by byte, for what goes through as it is. */
export interface ProcessStreams {
  readonly stdin: Input;
  readonly stdout: Output;
  readonly stderr: Output;
}

export function ownStreams(): ProcessStreams {
  const { stdin, stdout, stderr } = process;
  return { stdin, stdout, stderr };
}

/** Writes all of it, as fast as its reader reads; says whether the reader was there to the end. */
export async function writeAll(
  pieces: AsyncIterable<Buffer>,
  output: Writable,
  signal: AbortSignal,
): Promise<boolean> {
  const gone = new AbortController();
  const failed = (error: Error): void => gone.abort(error);
  output.on('error', failed);
  try {
    for await (const piece of pieces) {
      if (!output.write(piece)) await drained(output, AbortSignal.any([signal, gone.signal]));
      if (gone.signal.aborted || signal.aborted) break;
    }
  } finally {
    // An error of what was written last may come later still, and then nobody has to know.
    output.off('error', failed).on('error', () => {});
  }
  const { reason } = gone.signal;
  if (gone.signal.aborted && systemCode(reason) !== 'EPIPE') throw reason;
  return !gone.signal.aborted;
}

async function drained(output: Writable, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    output.once('drain', resolve);
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
