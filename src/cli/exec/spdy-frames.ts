/**
 * Frames of SPDY/3.1, as far as one side of a remote command needs them (the protocol's public draft). That is what container runtimes of all
 * ages speak, and in which an input can come to its end while the output goes on.
 */

/** What of a frame counts here. */
export type Frame =
  | {
      readonly kind: 'data';
      readonly stream: number;
      readonly isLast: boolean;
      readonly data: Buffer;
    }
  /** The other side has taken up a stream; its headers are of no interest. */
  | { readonly kind: 'reply'; readonly stream: number; readonly isLast: boolean }
  | { readonly kind: 'reset'; readonly stream: number }
  | { readonly kind: 'ping'; readonly id: number }
  | { readonly kind: 'goaway' }
  | { readonly kind: 'other' };

const version = 3;
const types = { open: 1, reply: 2, reset: 3, ping: 6, goaway: 7 } as const;
const last = 0x01;
const headBytes = 8;
/** The length of a frame has 24 bits. */
const longest = 0xff_ff_ff;

/** Begins a stream. `isFirst`: it is the first one of its connection. */
export function openFrame(
  stream: number,
  headers: Readonly<Record<string, string>>,
  isFirst: boolean,
): Buffer {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt32BE(stream);
  return controlFrame(types.open, 0, Buffer.concat([fixed, headerBlock(headers, isFirst)]));
}

/** A piece of a stream; `isLast`: nothing follows on it from this side. */
export function dataFrames(stream: number, data: Buffer, isLast = false): readonly Buffer[] {
  const head = Buffer.alloc(headBytes);
  head.writeUInt32BE(stream);
  head.writeUInt32BE(data.length, 4);
  head.writeUInt8(isLast ? last : 0, 4);
  return [head, data];
}

export function pingFrame(id: number): Buffer {
  const body = Buffer.alloc(4);
  body.writeUInt32BE(id);
  return controlFrame(types.ping, 0, body);
}

function controlFrame(type: number, flags: number, body: Buffer): Buffer {
  const head = Buffer.alloc(headBytes);
  head.writeUInt16BE(0x80_00 | version);
  head.writeUInt16BE(type, 2);
  head.writeUInt32BE(body.length, 4);
  head.writeUInt8(flags, 4);
  return Buffer.concat([head, body]);
}

/**
 * Headers are one stream of zlib for the whole connection. Nothing has to be small here: blocks that are stored as they are need neither a
 * compressor nor the dictionary of the protocol. The empty block at the end hands all that came before it to the reader.
 */
function headerBlock(headers: Readonly<Record<string, string>>, isFirst: boolean): Buffer {
  const entries = Object.entries(headers);
  const parts = [uint32(entries.length)];
  for (const text of entries.flat()) {
    const bytes = Buffer.from(text);
    parts.push(uint32(bytes.length), bytes);
  }
  const zlibHead = isFirst ? [Buffer.from([0x78, 0x01])] : [];
  return Buffer.concat([
    ...zlibHead,
    storedBlock(Buffer.concat(parts)),
    storedBlock(Buffer.alloc(0)),
  ]);
}

/** RFC 1951, 3.2.4. */
function storedBlock(bytes: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt16LE(bytes.length, 1);
  head.writeUInt16LE(bytes.length ^ 0xff_ff, 3);
  return Buffer.concat([head, bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

interface OpenData {
  readonly stream: number;
  readonly isLast: boolean;
  /** Bytes that are to come. */
  left: number;
}

/** Cuts what comes into frames. Data is told as it comes, a frame in several pieces. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);
  /** Of a frame with data that is not over. */
  #open: OpenData | undefined;

  /** Throws for what is no frame of this protocol. */
  *read(chunk: Buffer): Generator<Frame> {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) yield frame;
  }

  #next(): Frame | undefined {
    if (this.#open !== undefined) return this.#piece(this.#open);
    if (this.#rest.length < headBytes) return undefined;
    const first = this.#rest.readUInt32BE();
    const flags = this.#rest.readUInt8(4);
    const length = this.#rest.readUInt32BE(4) & longest;
    const isLast = (flags & last) !== 0;
    if ((first & 0x80_00_00_00) === 0) {
      this.#take(headBytes);
      this.#open = { stream: first, isLast, left: length };
      return this.#piece(this.#open);
    }
    if (first >>> 16 !== (0x80_00 | version)) throw new Error('no SPDY/3.1');
    if (this.#rest.length < headBytes + length) return undefined;
    this.#take(headBytes);
    return controlOf(first & 0xff_ff, isLast, this.#take(length));
  }

  /** undefined: nothing of it is there yet. */
  #piece(open: OpenData): Frame | undefined {
    if (open.left > 0 && this.#rest.length === 0) return undefined;
    const data = this.#take(Math.min(open.left, this.#rest.length));
    open.left -= data.length;
    const isOver = open.left === 0;
    if (isOver) this.#open = undefined;
    return { kind: 'data', stream: open.stream, isLast: open.isLast && isOver, data };
  }

  #take(length: number): Buffer {
    const taken = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return taken;
  }
}

function controlOf(type: number, isLast: boolean, body: Buffer): Frame {
  const number = body.length < 4 ? 0 : body.readUInt32BE() & 0x7f_ff_ff_ff;
  switch (type) {
    case types.reply:
      return { kind: 'reply', stream: number, isLast };
    case types.reset:
      return { kind: 'reset', stream: number };
    case types.ping:
      return { kind: 'ping', id: body.length < 4 ? 0 : body.readUInt32BE() };
    case types.goaway:
      return { kind: 'goaway' };
    default:
      return { kind: 'other' };
  }
}
