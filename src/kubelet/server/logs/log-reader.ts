import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { watch } from 'node:fs';
import type { Clock } from '../../../clock.ts';
import { isAbsent } from '../../../error.ts';
import { parseLogLine, parseLogTime } from './log-line.ts';
import type { LogOptions } from './log-options.ts';

export interface LogReading {
  readonly path: string;
  readonly options: LogOptions;
  /** Whether more may be written; asked where a follower has read all that there is. */
  readonly isRunning: () => Promise<boolean>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const blockBytes = 64 * 1024;
/** containerd writes lines of at most 16 KiB; what is longer was not written by a runtime. */
const longestLine = 1024 * 1024;
/** A watch may tell nothing. */
const pollMs = 1_000;
const lineFeed = 0x0a;

/**
 * What a client sees of a log, in pieces of some 64 KiB: nothing is read before the last piece was taken. Throws where the file cannot be
 * opened. Followed, it goes on in the new file where the log was rotated, and ends when the container has.
 */
export async function* readLog(reading: LogReading): AsyncGenerator<Buffer, void, undefined> {
  const { path, options, signal } = reading;
  const writer = new LineWriter(options);
  const aliveness = new Aliveness(reading);
  let file = await open(path, 'r');
  try {
    let at = options.tailLines === undefined ? 0 : await tailStart(file, options.tailLines);
    for (;;) {
      for await (const block of blocks(file, at)) {
        at += block.length;
        const text = writer.write(block);
        if (text.length > 0) yield text;
        if (writer.isFull || signal.aborted) return;
      }
      if (!options.follow) return;
      const next = await whatNext(reading, aliveness, file, at);
      if (next.kind === 'end') return;
      if (next.kind === 'file') {
        await file.close();
        file = next.file;
        at = 0;
      }
    }
  } finally {
    await file.close();
  }
}

type Next =
  | { readonly kind: 'more' }
  | { readonly kind: 'file'; readonly file: FileHandle }
  | { readonly kind: 'end' };

/** The runtime is asked at most once a second, however much is written. */
class Aliveness {
  readonly #reading: LogReading;
  #askedMs = -Infinity;

  constructor(reading: LogReading) {
    this.#reading = reading;
  }

  /** Says that it runs where it was asked only just now. */
  async isRunning(): Promise<boolean> {
    const nowMs = this.#reading.clock.monotonic();
    if (nowMs - this.#askedMs < pollMs) return true;
    this.#askedMs = nowMs;
    return this.#reading.isRunning();
  }
}

async function whatNext(
  reading: LogReading,
  aliveness: Aliveness,
  file: FileHandle,
  at: number,
): Promise<Next> {
  const { path, signal } = reading;
  while (!signal.aborted) {
    // In this order: what was written before the answers is still read.
    const changed = await rotated(path, file);
    const running = changed || (await aliveness.isRunning());
    if ((await file.stat()).size > at) return { kind: 'more' };
    if (changed) return openNew(path);
    if (!running) return { kind: 'end' };
    await somethingWritten(reading);
  }
  return { kind: 'end' };
}

async function openNew(path: string): Promise<Next> {
  try {
    return { kind: 'file', file: await open(path, 'r') };
  } catch (error) {
    if (isAbsent(error)) return { kind: 'end' };
    throw error;
  }
}

/** Whether the runtime writes another file by now: it makes it when it is told to reopen its log. */
async function rotated(path: string, file: FileHandle): Promise<boolean> {
  try {
    const [now, ours] = await Promise.all([stat(path), file.stat()]);
    return now.ino !== ours.ino;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

async function somethingWritten({ path, clock, signal }: LogReading): Promise<void> {
  const wake = new AbortController();
  const either = AbortSignal.any([wake.signal, signal]);
  let watcher: ReturnType<typeof watch> | undefined;
  try {
    watcher = watch(path, () => {
      wake.abort();
    });
    watcher.on('error', () => {});
  } catch {
    // The poll is enough.
  }
  await clock.sleep(pollMs, either);
  watcher?.close();
}

async function* blocks(file: FileHandle, from: number): AsyncGenerator<Buffer> {
  for (let at = from; ;) {
    const { bytesRead, buffer } = await file.read(
      Buffer.allocUnsafe(blockBytes),
      0,
      blockBytes,
      at,
    );
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** Where the last `lines` lines begin. */
async function tailStart(file: FileHandle, lines: number): Promise<number> {
  const { size } = await file.stat();
  if (lines === 0) return size;
  const buffer = Buffer.allocUnsafe(blockBytes);
  let left = lines;
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - blockBytes);
    const { bytesRead } = await file.read(buffer, 0, end - start, start);
    for (let at = bytesRead - 1; at >= 0; at--) {
      // The line feed at the very end ends the last line and begins none.
      if (buffer[at] !== lineFeed || start + at === size - 1) continue;
      left -= 1;
      if (left === 0) return start + at + 1;
    }
    end = start;
  }
  return 0;
}

/** Makes of a log's lines what the client gets; a line that goes on in the next piece is kept until then. */
class LineWriter {
  readonly #options: LogOptions;
  #rest: Buffer[] = [];
  #restLength = 0;
  #left: number;
  #begins = true;

  constructor(options: LogOptions) {
    this.#options = options;
    this.#left = options.limitBytes ?? Infinity;
  }

  get isFull(): boolean {
    return this.#left <= 0;
  }

  write(block: Buffer): Buffer {
    const out: Buffer[] = [];
    let start = 0;
    for (let end = block.indexOf(lineFeed); end >= 0; end = block.indexOf(lineFeed, start)) {
      this.#line(this.#whole(block.subarray(start, end)), out);
      start = end + 1;
    }
    this.#keep(block.subarray(start));
    return this.#cut(Buffer.concat(out));
  }

  #whole(end: Buffer): Buffer {
    if (this.#rest.length === 0) return end;
    const whole = Buffer.concat([...this.#rest, end]);
    this.#rest = [];
    this.#restLength = 0;
    return whole;
  }

  #keep(bytes: Buffer): void {
    if (bytes.length === 0 || this.#restLength > longestLine) return;
    this.#rest.push(Buffer.from(bytes));
    this.#restLength += bytes.length;
  }

  #line(bytes: Buffer, out: Buffer[]): void {
    const { since, stream, timestamps } = this.#options;
    const line = parseLogLine(bytes);
    if (line === undefined) return;
    if (stream !== undefined && line.stream !== stream) return;
    if (since !== undefined && (parseLogTime(line.time) ?? since) < since) return;
    if (timestamps && this.#begins) out.push(Buffer.from(`${line.time} `));
    out.push(line.content);
    if (!line.isPartial) out.push(Buffer.from('\n'));
    this.#begins = !line.isPartial;
  }

  #cut(text: Buffer): Buffer {
    const part = text.length > this.#left ? text.subarray(0, this.#left) : text;
    this.#left -= part.length;
    return part;
  }
}
