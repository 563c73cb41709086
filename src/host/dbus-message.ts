import { Buffer } from 'node:buffer';

/** Values by their names, as systemd takes them: texts, booleans, numbers of 64 bits. */
export type BusProperties = ReadonlyMap<string, string | boolean | bigint>;

/** A value that is sent: `s`, `i`, `b`, `a(sv)`; an empty list is that of further units, `a(sa(sv))`, and no other can be sent. */
export type BusArgument = string | number | boolean | BusProperties | readonly [];

/** A method of an object on the bus. */
export interface BusCall {
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly arguments?: readonly BusArgument[];
}

/** What comes from the bus, as far as it is looked at. */
export interface BusMessage {
  readonly kind: 'call' | 'return' | 'error' | 'signal' | 'other';
  /** Of the call that it answers. */
  readonly replySerial: number | undefined;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly errorName: string;
  /** Which connection sent it: the bus says so, nobody can pretend. */
  readonly sender: string;
  readonly signature: string;
  readonly body: Buffer;
  readonly isLittleEndian: boolean;
}

const kinds = ['other', 'call', 'return', 'error', 'signal'] as const;
const fixedBytes = 16;
/** A bus allows 128 MiB; nothing that is asked for here is as large as this. */
const mostBytes = 1024 ** 2;
/** What a bus allows (specification 0.43): more is no message. */
const allowedBytes = 128 * 1024 ** 2;

/** A call in the wire format of D-Bus (specification 0.43, little endian). */
export function encodeCall(call: BusCall, serial: number): Buffer {
  const { arguments: given = [] } = call;
  const body = new Encoder();
  for (const each of given) body.argument(each);
  const fields = new Encoder();
  const signature = given.map(signatureOf).join('');
  fields.field(1, 'o', call.path);
  fields.field(2, 's', call.interface);
  fields.field(3, 's', call.member);
  fields.field(6, 's', call.destination);
  if (signature !== '') fields.field(8, 'g', signature);
  const head = new Encoder();
  head.bytes(Buffer.from(['l'.codePointAt(0) ?? 0, 1, 0, 1]));
  head.number(body.size);
  head.number(serial);
  head.number(fields.size);
  head.bytes(fields.done());
  head.pad(8);
  return Buffer.concat([head.done(), body.done()]);
}

function signatureOf(given: BusArgument): string {
  if (typeof given === 'string') return 's';
  if (typeof given === 'number') return 'i';
  if (typeof given === 'boolean') return 'b';
  return given instanceof Map ? 'a(sv)' : 'a(sa(sv))';
}

/** What of the bytes that have come is done with. */
export interface Decoded {
  /** undefined: it is too large to be anything that was asked for. */
  readonly message: BusMessage | undefined;
  readonly rest: Buffer;
  /** So many bytes that are still to come belong to it, and are nothing. */
  readonly skipBytes: number;
}

/**
 * The first message of what has come, and the rest; undefined: it is not whole yet. Any user of a bus can send any other whatever the bus
 * allows: what is too large is passed over. Throws where it is no message.
 */
export function decodeMessage(data: Buffer): Decoded | undefined {
  if (data.length < fixedBytes) return undefined;
  const isLittleEndian = data[0] === 0x6c;
  if (!isLittleEndian && data[0] !== 0x42) throw new Error('what came from the bus is no message');
  const bodyBytes = uint32(data, 4, isLittleEndian);
  const fieldBytes = uint32(data, 12, isLittleEndian);
  const bodyAt = padded(fixedBytes + fieldBytes, 8);
  const size = bodyAt + bodyBytes;
  if (size > allowedBytes) throw new Error(`a message from the bus has ${size} bytes`);
  if (size > mostBytes) {
    const skipBytes = Math.max(0, size - data.length);
    return { message: undefined, rest: data.subarray(size), skipBytes };
  }
  if (data.length < size) return undefined;
  const fields = readFields(data.subarray(0, fixedBytes + fieldBytes), isLittleEndian);
  const text = (code: number): string => {
    const value = fields.get(code);
    return typeof value === 'string' ? value : '';
  };
  const reply = fields.get(5);
  const message: BusMessage = {
    kind: kinds[data[1] ?? 0] ?? 'other',
    replySerial: typeof reply === 'number' ? reply : undefined,
    path: text(1),
    interface: text(2),
    member: text(3),
    errorName: text(4),
    sender: text(7),
    signature: text(8),
    body: data.subarray(bodyAt, size),
    isLittleEndian,
  };
  return { message, rest: data.subarray(size), skipBytes: 0 };
}

/** The first value of a message, a boolean, or a variant with one, as properties are answered; undefined: it is none. */
export function firstBoolean({ signature, body, isLittleEndian }: BusMessage): boolean | undefined {
  const isVariant = signature === 'v' && body.length >= 8 && body[0] === 1 && body[1] === 0x62;
  if (isVariant) return uint32(body, 4, isLittleEndian) === 1;
  if (!signature.startsWith('b') || body.length < 4) return undefined;
  return uint32(body, 0, isLittleEndian) === 1;
}

/** The first value of a message, a text; undefined: it is none. */
export function firstText({ signature, body, isLittleEndian }: BusMessage): string | undefined {
  if (!signature.startsWith('s') || body.length < 4) return undefined;
  return body.toString('utf8', 4, 4 + uint32(body, 0, isLittleEndian));
}

/** The first value of a message, a variant with a number of 64 bits, as properties are answered; undefined: it is none. */
export function firstUint64({ signature, body, isLittleEndian }: BusMessage): bigint | undefined {
  const isOne = signature === 'v' && body.length >= 16 && body[0] === 1 && body[1] === 0x74;
  if (!isOne) return undefined;
  return isLittleEndian ? body.readBigUInt64LE(8) : body.readBigUInt64BE(8);
}

function readFields(data: Buffer, isLittleEndian: boolean): ReadonlyMap<number, string | number> {
  const fields = new Map<number, string | number>();
  let at = fixedBytes;
  while (at + 4 < data.length) {
    const code = data[at] ?? 0;
    const type = String.fromCodePoint(data[at + 2] ?? 0);
    at += 4;
    if (type === 'u') {
      fields.set(code, uint32(data, at, isLittleEndian));
      at += 4;
    } else {
      const isShort = type === 'g';
      const length = isShort ? (data[at] ?? 0) : uint32(data, at, isLittleEndian);
      at += isShort ? 1 : 4;
      fields.set(code, data.toString('utf8', at, at + length));
      at += length + 1;
    }
    at = padded(at, 8);
  }
  return fields;
}

function uint32(data: Buffer, at: number, isLittleEndian: boolean): number {
  return isLittleEndian ? data.readUInt32LE(at) : data.readUInt32BE(at);
}

function padded(size: number, to: number): number {
  return Math.ceil(size / to) * to;
}

/** Writes values one after the other, each where its type has to begin. */
class Encoder {
  readonly #parts: Buffer[] = [];
  size = 0;

  bytes(part: Buffer): void {
    this.#parts.push(part);
    this.size += part.length;
  }

  pad(to: number): void {
    this.bytes(Buffer.alloc(padded(this.size, to) - this.size));
  }

  number(value: number): void {
    this.pad(4);
    const part = Buffer.alloc(4);
    part.writeInt32LE(value);
    this.bytes(part);
  }

  string(value: string): void {
    const text = Buffer.from(value);
    this.number(text.length);
    this.bytes(Buffer.concat([text, Buffer.alloc(1)]));
  }

  argument(given: BusArgument): void {
    if (typeof given === 'string') this.string(given);
    else if (typeof given === 'number' || typeof given === 'boolean') this.number(Number(given));
    else this.#list([...given]);
  }

  /** A field of a header: its number, and a variant. */
  field(code: number, type: 'o' | 's' | 'g', value: string): void {
    this.pad(8);
    this.bytes(Buffer.from([code]));
    this.#signature(type);
    if (type === 'g') this.#signature(value);
    else this.string(value);
  }

  /** Of names and variants; its length counts from where the first begins. */
  #list(properties: readonly (readonly [string, string | boolean | bigint])[]): void {
    const list = new Encoder();
    for (const [name, value] of properties) {
      list.pad(8);
      list.string(name);
      list.#variant(value);
    }
    this.number(list.size);
    this.pad(8);
    this.bytes(list.done());
  }

  #variant(value: string | boolean | bigint): void {
    if (typeof value !== 'bigint') {
      this.#signature(typeof value === 'string' ? 's' : 'b');
      this.argument(value);
      return;
    }
    this.#signature('t');
    this.pad(8);
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(value);
    this.bytes(part);
  }

  #signature(value: string): void {
    const text = Buffer.from(value);
    this.bytes(Buffer.concat([Buffer.from([text.length]), text, Buffer.alloc(1)]));
  }

  done(): Buffer {
    return Buffer.concat(this.#parts);
  }
}
