// What is spoken to a command in a container: its streams, half-closed input, sizes, its exit code, and what breaks.
import { PassThrough } from 'node:stream';
import type { Duplex } from 'node:stream';
import { duplexPair } from 'node:stream';
import { inflateSync, constants } from 'node:zlib';
import { expect, test } from 'vitest';
import { remoteCommand } from '../../../../src/cli/exec/remote-command.ts';
import {
  FrameReader,
  dataFrames,
  openFrame,
  pingFrame,
} from '../../../../src/cli/exec/spdy-frames.ts';
import type { Frame } from '../../../../src/cli/exec/spdy-frames.ts';

/** The runtime's side: notes what is sent to it, and says what a test wants. */
class Runtime {
  readonly socket: Duplex;
  readonly frames: Frame[] = [];
  readonly reading: Promise<void>;

  constructor(socket: Duplex) {
    this.socket = socket;
    // However it ends.
    this.reading = this.#read().catch(() => {});
  }

  async #read(): Promise<void> {
    const reader = new FrameReader();
    for await (const chunk of this.socket) this.frames.push(...reader.read(chunk as Buffer));
  }

  /** All that came on a stream, and whether its end did. */
  said(stream: number): { readonly text: string; readonly isOver: boolean } {
    const own = this.frames.filter((each) => each.kind === 'data' && each.stream === stream);
    const pieces = own.map((each) => (each.kind === 'data' ? each.data : Buffer.alloc(0)));
    const isOver = own.some((each) => each.kind === 'data' && each.isLast);
    return { text: Buffer.concat(pieces).toString(), isOver };
  }

  say(stream: number, text: string, isLast = false): void {
    for (const part of dataFrames(stream, Buffer.from(text), isLast)) this.socket.write(part);
  }

  end(verdict: object, ...outputs: readonly number[]): void {
    for (const stream of outputs) this.say(stream, '', true);
    this.say(1, JSON.stringify(verdict), true);
  }
}

const streams = { error: 1, stdin: 3, stdout: 5, stderr: 7 } as const;
const failed = (message: string): object => ({
  status: 'Failure',
  reason: 'NonZeroExitCode',
  details: { causes: [{ reason: 'ExitCode', message }] },
});

function begin(asked = { stdin: true, tty: false }, protocol = 'v4.channel.k8s.io') {
  const [near, far] = duplexPair();
  const runtime = new Runtime(far);
  const local = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
  const sizes: (() => void)[] = [];
  let rows = 24;
  const terminal = {
    size: () => ({ rows: rows++, columns: 80 }),
    changes: (changed: () => void) => void sizes.push(changed),
  };
  const headers = { 'x-stream-protocol-version': protocol };
  const connection = { socket: near, head: Buffer.alloc(0), headers };
  const stop = new AbortController();
  const done = remoteCommand({ connection, asked, local, terminal }, stop.signal);
  done.catch(() => {});
  return { runtime, local, done, stop, sizes };
}

function textIn(output: PassThrough): string {
  return String(output.read() ?? '');
}

test('both outputs come apart, and the exit code', async () => {
  const { runtime, local, done } = begin();
  runtime.say(streams.stdout, 'out');
  runtime.say(streams.stderr, 'err');
  runtime.end(failed('3'), streams.stdout, streams.stderr);
  expect(await done).toBe(3);
  expect([textIn(local.stdout), textIn(local.stderr)]).toEqual(['out', 'err']);
});

test('input goes to its end, and output goes on after it', async () => {
  const { runtime, local, done } = begin();
  local.stdin.end('hello');
  await expect.poll(() => runtime.said(streams.stdin)).toEqual({ text: 'hello', isOver: true });
  runtime.say(streams.stdout, 'later');
  runtime.end({ status: 'Success' }, streams.stdout, streams.stderr);
  expect(await done).toBe(0);
  expect(textIn(local.stdout)).toBe('later');
});

test('a terminal has one output, and its size is told at first and with each change', async () => {
  const { runtime, done, sizes } = begin({ stdin: true, tty: true });
  const resize = 7;
  await expect.poll(() => runtime.said(resize).text).toBe('{"Width":80,"Height":24}\n');
  sizes[0]?.();
  await expect
    .poll(() => runtime.said(resize).text)
    .toBe('{"Width":80,"Height":24}\n{"Width":80,"Height":25}\n');
  runtime.end({ status: 'Success' }, streams.stdout);
  expect(await done).toBe(0);
});

test('a question whether we are there is answered', async () => {
  const { runtime, done } = begin();
  runtime.socket.write(pingFrame(2));
  await expect.poll(() => runtime.frames).toContainEqual({ kind: 'ping', id: 2 });
  runtime.end({ status: 'Success' }, streams.stdout, streams.stderr);
  await done;
});

test('a slow reader holds the other side up, and nothing is lost', async () => {
  const { runtime, local, done } = begin();
  const size = 3_000_000;
  runtime.say(streams.stdout, 'x'.repeat(size));
  runtime.end({ status: 'Success' }, streams.stdout, streams.stderr);
  let read = 0;
  for await (const piece of local.stdout) {
    read += (piece as Buffer).length;
    if (read === size) break;
  }
  expect(await done).toBe(0);
});

test.each<[string, (runtime: Runtime) => void, string]>([
  [
    'a connection that breaks',
    (runtime) => runtime.socket.destroy(),
    'broke before the command had ended',
  ],
  [
    'a command that is not there',
    (runtime) => runtime.end({ status: 'Failure', message: 'no such file' }, 5, 7),
    'could not be run: no such file',
  ],
  [
    'what is no SPDY',
    (runtime) => void runtime.socket.write(Buffer.alloc(16, 0xff)),
    'no SPDY/3.1',
  ],
])('%s is told', async (_what, act, message) => {
  const { runtime, done } = begin();
  act(runtime);
  await expect(done).rejects.toThrow(message);
});

test('a runtime that speaks another protocol is told of', async () => {
  const { done } = begin(undefined, 'channel.k8s.io');
  await expect(done).rejects.toThrow('the container runtime speaks channel.k8s.io');
});

test('a signal ends it', async () => {
  const { runtime, done, stop } = begin();
  stop.abort();
  await expect(done).rejects.toThrow('the connection broke');
  await runtime.reading;
  expect(runtime.socket.destroyed || runtime.socket.readableEnded).toBe(true);
});

test('headers are one stream of zlib, of which each frame gives all of its own', async () => {
  const bodies = [openFrame(1, { streamtype: 'error' }, true), openFrame(3, { a: 'b' }, false)].map(
    (frame) => frame.subarray(18),
  );
  const read = (count: number): string =>
    inflateSync(Buffer.concat(bodies.slice(0, count)), { finishFlush: constants.Z_SYNC_FLUSH })
      .toString('latin1')
      .replaceAll('\0', '');
  expect(read(1)).toBe('\u0001\nstreamtype\u0005error');
  expect(read(2)).toBe('\u0001\nstreamtype\u0005error\u0001\u0001a\u0001b');
});

test('frames are read however they are cut', () => {
  const bytes = Buffer.concat([
    ...dataFrames(5, Buffer.from('abc')),
    pingFrame(4),
    ...dataFrames(5, Buffer.alloc(0), true),
  ]);
  const reader = new FrameReader();
  const frames = [...bytes].flatMap((byte) => [...reader.read(Buffer.of(byte))]);
  const data = frames.flatMap((each) => (each.kind === 'data' ? [each] : []));
  expect(Buffer.concat(data.map((each) => each.data)).toString()).toBe('abc');
  expect(data.map(({ isLast }) => isLast).indexOf(true)).toBe(data.length - 1);
  expect(frames.filter(({ kind }) => kind === 'ping')).toEqual([{ kind: 'ping', id: 4 }]);
});
