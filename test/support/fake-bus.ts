import { Buffer } from 'node:buffer';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { decodeMessage } from '../../src/host/dbus-message.ts';
import type { BusMessage } from '../../src/host/dbus-message.ts';

/** The message bus of a machine with systemd-logind on it, at a socket of a test's own. */
export class FakeBus {
  /** `Get`, `KillUnit` … in the order in which they came. */
  readonly calls: string[] = [];
  /** What came with each. */
  readonly given: Pick<BusMessage, 'signature' | 'body'>[] = [];
  /** For how long logind holds a shutdown back. */
  delayMs = 5000n;
  /** What it will be once logind has read its configuration again. */
  delayNextMs: bigint | undefined;
  /** The connection that is logind. */
  owner = ':1.7';
  hasLogind = true;
  /** A call that is answered with an error. */
  refuses = '';
  /** The name of that error. */
  refusal = 'org.freedesktop.DBus.Error.ServiceUnknown';
  /** Whether a shutdown has begun. */
  isPreparing = false;
  #server: Server | undefined;
  #socket: Socket | undefined;

  async listen(path: string): Promise<void> {
    this.#server = createServer((socket) => this.#serve(socket));
    await new Promise<void>((resolve) => this.#server?.listen(path, resolve));
  }

  get isConnected(): boolean {
    return this.#socket?.destroyed === false;
  }

  /** Whoever is connected is not any more. */
  drop(): void {
    this.#socket?.destroy();
  }

  async close(): Promise<void> {
    this.drop();
    await new Promise<void>((resolve) => {
      if (this.#server === undefined) resolve();
      else this.#server.close(() => resolve());
    });
  }

  /** Says that a shutdown begins, or is called off; by whatever connection. */
  prepareForShutdown(begins: boolean, sender = this.owner): void {
    if (sender === this.owner) this.isPreparing = begins;
    const body = Buffer.from([begins ? 1 : 0, 0, 0, 0]);
    const fields = [
      field(1, 'o', '/org/freedesktop/login1'),
      field(2, 's', 'org.freedesktop.login1.Manager'),
      field(3, 's', 'PrepareForShutdown'),
      field(7, 's', sender),
      field(8, 'g', 'b'),
    ];
    this.#socket?.write(message(4, fields, body));
  }

  /** Any connection says something of this size. */
  say(bytes: number): void {
    const fields = [field(1, 'o', '/'), field(2, 's', 'any.thing'), field(3, 's', 'Said')];
    this.#socket?.write(message(4, fields, Buffer.alloc(bytes, 'l')));
  }

  #serve(socket: Socket): void {
    this.#socket = socket;
    let data = Buffer.alloc(0);
    let isOpen = false;
    socket.on('error', () => {});
    socket.on('data', (more: Buffer) => {
      data = Buffer.concat([data, more]);
      if (!isOpen && data.includes('AUTH EXTERNAL') && !data.includes('BEGIN\r\n')) {
        socket.write('OK 0123456789abcdef0123456789abcdef\r\n');
        return;
      }
      if (!isOpen) {
        data = data.subarray(data.indexOf('BEGIN\r\n') + 7);
        isOpen = true;
      }
      for (let found = decodeMessage(data); found; found = decodeMessage(data)) {
        // its serial lies behind the length of its body
        const serial = data.readUInt32LE(8);
        data = Buffer.from(found.rest);
        if (found.message !== undefined) this.#answer(found.message, serial);
      }
    });
  }

  #answer({ member, signature, body }: BusMessage, serial: number): void {
    this.calls.push(member);
    this.given.push({ signature, body });
    const reply = field(5, 'u', serial);
    const answer = (type: string, value: Buffer): void => {
      const fields = type === '' ? [reply] : [reply, field(8, 'g', type)];
      this.#socket?.write(message(2, fields, value));
    };
    if (this.#isRefused(member)) {
      const name = field(4, 's', this.refusal);
      this.#socket?.write(message(3, [reply, name], Buffer.alloc(0)));
    } else if (member === 'Get') {
      answer('v', this.#property(body.includes('PreparingForShutdown')));
    } else if (member === 'Hello' || member === 'GetNameOwner') {
      answer('s', text(member === 'Hello' ? ':1.99' : this.owner));
    } else {
      if (member === 'KillUnit' && body.includes('systemd-logind.service'))
        this.delayMs = this.delayNextMs ?? this.delayMs;
      answer('', Buffer.alloc(0));
    }
  }

  #isRefused(member: string): boolean {
    const isOfLogind = member === 'Get' || member === 'GetNameOwner';
    return member === this.refuses || (isOfLogind && !this.hasLogind);
  }

  /** A variant: a boolean, or a number of 64 bits. */
  #property(isPreparing: boolean): Buffer {
    const value = Buffer.alloc(isPreparing ? 8 : 16);
    value.write(isPreparing ? '\u0001b\0' : '\u0001t\0', 0, 'latin1');
    if (isPreparing) value.writeUInt32LE(this.isPreparing ? 1 : 0, 4);
    else value.writeBigUInt64LE(this.delayMs * 1000n, 8);
    return value;
  }
}

function text(value: string): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(Buffer.byteLength(value));
  return Buffer.concat([size, Buffer.from(`${value}\0`)]);
}

/** Padded to eight bytes, as the next one has to begin there. */
function field(code: number, type: 'o' | 's' | 'g' | 'u', value: string | number): Buffer {
  const head = Buffer.from([code, 1, type.codePointAt(0) ?? 0, 0]);
  let rest: Buffer;
  if (typeof value === 'number') {
    rest = Buffer.alloc(4);
    rest.writeUInt32LE(value);
  } else if (type === 'g')
    rest = Buffer.concat([Buffer.from([value.length]), Buffer.from(`${value}\0`)]);
  else rest = text(value);
  const all = Buffer.concat([head, rest]);
  return Buffer.concat([all, Buffer.alloc((8 - (all.length % 8)) % 8)]);
}

function message(kind: number, fields: readonly Buffer[], body: Buffer): Buffer {
  const list = Buffer.concat(fields);
  const head = Buffer.alloc(16);
  head.write('l', 0, 'latin1');
  head[1] = kind;
  head[3] = 1;
  head.writeUInt32LE(body.length, 4);
  head.writeUInt32LE(1, 8);
  head.writeUInt32LE(list.length, 12);
  return Buffer.concat([head, list, body]);
}
