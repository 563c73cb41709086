import { Buffer } from 'node:buffer';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import process from 'node:process';
import { SwitchyardError } from '../error.ts';
import { decodeMessage, encodeCall } from './dbus-message.ts';
import type { BusCall, BusMessage } from './dbus-message.ts';

/** Where the bus of the machine is. */
export const systemBusPath = '/run/dbus/system_bus_socket';

/** A call was answered with an error: `errorName` is what the one that was called has for it, `org.freedesktop.systemd1.NoSuchUnit`. */
export class BusRefusal extends SwitchyardError {
  readonly errorName: string;

  constructor({ interface: of, member }: BusCall, errorName: string) {
    super('tool', `${of}.${member} was answered with ${errorName}`, { retryable: true });
    this.errorName = errorName;
  }
}

interface Waiting {
  readonly resolve: (message: BusMessage) => void;
  readonly reject: (error: Error) => void;
}

/** A connection to a message bus (D-Bus), for a few calls and signals. Nobody gives descriptors on it: Node cannot take them. */
export class MessageBus {
  /** Resolves when it is closed, by whomever. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onSignal: (message: BusMessage) => void;
  #serial = 0;
  #data = Buffer.alloc(0);
  /** Of a message that is passed over: so much of it is still to come. */
  #skipBytes = 0;
  /** Once the bus has taken us: before that it speaks in lines. */
  #isOpen = false;

  private constructor(socket: Socket, onSignal: (message: BusMessage) => void) {
    this.#socket = socket;
    this.#onSignal = onSignal;
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        const error = gone('the connection to the bus was closed');
        for (const { reject } of this.#waiting.values()) reject(error);
        this.#waiting.clear();
        resolve();
      });
    });
    // told by the close that follows
    socket.on('error', () => {});
  }

  /** Connects as the user of this process. Rejects where there is no bus. */
  static async open(
    path: string,
    onSignal: (message: BusMessage) => void,
    signal: AbortSignal,
  ): Promise<MessageBus> {
    const socket = connect(path);
    const bus = new MessageBus(socket, onSignal);
    const stop = (): void => bus.close();
    signal.addEventListener('abort', stop, { once: true });
    void bus.closed.then(() => signal.removeEventListener('abort', stop));
    if (signal.aborted) stop();
    await bus.#begin();
    await bus.call({
      destination: 'org.freedesktop.DBus',
      path: '/org/freedesktop/DBus',
      interface: 'org.freedesktop.DBus',
      member: 'Hello',
    });
    return bus;
  }

  /** Rejects where it is answered with an error ({@link BusRefusal}), or not at all any more. */
  async call(call: BusCall): Promise<BusMessage> {
    if (this.#socket.destroyed) throw gone('there is no connection to the bus');
    this.#serial += 1;
    const serial = this.#serial;
    const answer = new Promise<BusMessage>((resolve, reject) => {
      this.#waiting.set(serial, { resolve, reject });
    });
    this.#socket.write(encodeCall(call, serial));
    const message = await answer;
    if (message.kind !== 'error') return message;
    throw new BusRefusal(call, message.errorName);
  }

  /** What fits is given to `onSignal` from now on. */
  async match(rule: string): Promise<void> {
    await this.call({
      destination: 'org.freedesktop.DBus',
      path: '/org/freedesktop/DBus',
      interface: 'org.freedesktop.DBus',
      member: 'AddMatch',
      arguments: [rule],
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Says who we are; the kernel tells the bus whether that is true. */
  async #begin(): Promise<void> {
    const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex');
    this.#socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
    const taken = new Promise<void>((resolve, reject) => {
      this.#socket.on('data', (data: Buffer) => {
        this.#data = Buffer.concat([this.#data, this.#wanted(data)]);
        try {
          if (this.#isOpen) this.#read();
          else if (this.#isTaken()) resolve();
        } catch (error) {
          this.close();
          reject(error);
        }
      });
    });
    await Promise.race([
      taken,
      this.closed.then(() => {
        throw gone('there is no bus, or it does not let us in');
      }),
    ]);
    this.#socket.write('BEGIN\r\n');
  }

  #isTaken(): boolean {
    const end = this.#data.indexOf('\r\n');
    if (end < 0 && this.#data.length < 512) return false;
    const line = this.#data.toString('utf8', 0, Math.max(0, end));
    if (!line.startsWith('OK ')) throw gone('the bus does not let us in');
    this.#data = this.#data.subarray(end + 2);
    this.#isOpen = true;
    return true;
  }

  /** Without what belongs to a message that is passed over. */
  #wanted(data: Buffer): Buffer {
    const skipped = Math.min(this.#skipBytes, data.length);
    this.#skipBytes -= skipped;
    return data.subarray(skipped);
  }

  #read(): void {
    for (;;) {
      const found = decodeMessage(this.#data);
      if (found === undefined) return;
      this.#data = Buffer.from(found.rest);
      this.#skipBytes = found.skipBytes;
      if (found.message !== undefined) this.#take(found.message);
    }
  }

  #take(message: BusMessage): void {
    if (message.kind === 'signal') {
      this.#onSignal(message);
      return;
    }
    const waiting = this.#waiting.get(message.replySerial ?? -1);
    if (waiting === undefined) return;
    this.#waiting.delete(message.replySerial ?? -1);
    waiting.resolve(message);
  }
}

function gone(text: string): SwitchyardError {
  return new SwitchyardError('tool', text, { retryable: true });
}
