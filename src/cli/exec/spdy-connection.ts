import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { errorText } from '../../error.ts';
import { FrameReader, dataFrames, openFrame, pingFrame } from './spdy-frames.ts';
import type { Frame } from './spdy-frames.ts';

/** One direction or both of a connection. */
export interface SpdyStream {
  /** Resolves when there is room for more; nothing is sent once the connection is over. */
  write(data: Buffer): Promise<void>;
  /** Nothing follows from this side; what comes from the other goes on. */
  end(): void;
}

/** Who takes what comes on a stream. */
export interface StreamReader {
  /** The next piece is read when this has resolved. */
  readonly data: (piece: Buffer) => Promise<void>;
  /** The other side has said all; also when the connection is over. */
  readonly end: () => void;
}

/** The side of a connection that begins its streams. */
export class SpdyConnection {
  readonly #socket: Duplex;
  readonly #readers = new Map<number, StreamReader>();
  readonly #frames = new FrameReader();
  #next = 1;
  #isOver = false;

  constructor(socket: Duplex) {
    this.#socket = socket;
    // What fails shows by the end of the reading.
    socket.on('error', () => {});
  }

  open(headers: Readonly<Record<string, string>>, reader: StreamReader): SpdyStream {
    const id = this.#next;
    this.#next += 2;
    this.#readers.set(id, reader);
    this.#socket.write(openFrame(id, headers, id === 1));
    return {
      write: async (data) => this.#send(dataFrames(id, data)),
      end: () => {
        void this.#send(dataFrames(id, Buffer.alloc(0), true));
      },
    };
  }

  /** Reads until the other side is gone or `signal` aborts; then all streams are over. Gives what was the matter, where it broke. */
  async run(head: Buffer, signal: AbortSignal): Promise<string | undefined> {
    const stop = (): void => void this.#socket.destroy();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    try {
      await this.#take(head);
      for await (const chunk of this.#socket) await this.#take(chunk as Buffer);
      return undefined;
    } catch (error) {
      return errorText(error);
    } finally {
      signal.removeEventListener('abort', stop);
      this.close();
    }
  }

  close(): void {
    this.#isOver = true;
    this.#socket.destroy();
    for (const id of this.#readers.keys()) this.#end(id);
  }

  async #take(chunk: Buffer): Promise<void> {
    for (const frame of this.#frames.read(chunk)) await this.#act(frame);
  }

  async #act(frame: Frame): Promise<void> {
    switch (frame.kind) {
      case 'data':
        if (frame.data.length > 0) await this.#readers.get(frame.stream)?.data(frame.data);
        if (frame.isLast) this.#end(frame.stream);
        break;
      case 'reply':
        if (frame.isLast) this.#end(frame.stream);
        break;
      case 'reset':
        this.#end(frame.stream);
        break;
      case 'ping':
        // Even ones are the other side's question.
        if (frame.id % 2 === 0) await this.#send([pingFrame(frame.id)]);
        break;
      case 'goaway':
      case 'other':
        break;
      default:
        frame satisfies never;
    }
  }

  #end(id: number): void {
    const reader = this.#readers.get(id);
    this.#readers.delete(id);
    reader?.end();
  }

  async #send(parts: readonly Buffer[]): Promise<void> {
    if (this.#isOver || this.#socket.destroyed) return;
    this.#socket.cork();
    let hasRoom = true;
    for (const part of parts) hasRoom = this.#socket.write(part);
    this.#socket.uncork();
    if (hasRoom) return;
    // A connection that ends has room for nothing, and no need of it.
    await Promise.race([once(this.#socket, 'drain'), once(this.#socket, 'close')]).catch(() => {});
  }
}
