import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { parseAddress } from '../ip/address.ts';
import type { Place } from './proxy-protocol.ts';
import { backlog, codeOf, keepAliveMs } from './wire.ts';
import type { Wire, WireEvents, Wires } from './wire.ts';

/** So much a direction waits inside Node at most, before the sender is stopped. */
const highWaterMark = 256 * 1024;

/** TCP by Node's streams: works wherever Node does. */
export const socketWires: Wires = {
  async listen({ address, port }, shared, listener) {
    const server = createServer(
      { allowHalfOpen: true, pauseOnConnect: true, noDelay: true, highWaterMark },
      (socket) => {
        listener.accepted(new SocketWire(socket));
      },
    );
    const ipv6Only = address.includes(':');
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: address, port, backlog, ipv6Only, reusePort: shared }, resolve);
    });
    server.removeAllListeners('error');
    server.on('error', (error) => {
      listener.failed(codeOf(error));
    });
    return async () => stop(server);
  },

  connect({ address, port }, done) {
    // Node takes an address as it is: nothing is looked up.
    const options = { host: address, port, allowHalfOpen: true, noDelay: true, highWaterMark };
    const socket = connect(options);
    socket.pause();
    const wire = new SocketWire(socket);
    wire.connecting(done);
    return wire;
  },
};

/** Existing connections go on: only the listening socket is waited for. */
async function stop(server: Server): Promise<void> {
  server.close();
  await new Promise((resolve) => setImmediate(resolve));
}

class SocketWire implements Wire {
  readonly #socket: Socket;
  #events: WireEvents | undefined;
  #done: ((failure: string | undefined) => void) | undefined;
  #error: string | undefined;
  #listens = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', (error) => {
      this.#failed(codeOf(error));
    });
  }

  connecting(done: (failure: string | undefined) => void): void {
    this.#done = done;
    this.#socket.once('connect', () => {
      this.#done = undefined;
      done(undefined);
    });
  }

  tell(events: WireEvents): void {
    this.#events = events;
    if (this.#listens) return;
    this.#listens = true;
    const socket = this.#socket;
    socket.on('data', (chunk: Buffer) => {
      if (this.#events?.data(chunk) === false) socket.pause();
    });
    socket.on('end', () => this.#events?.ended());
    socket.on('drain', () => this.#events?.sent());
    socket.pause();
  }

  resume(): void {
    if (this.#error !== undefined) this.#events?.failed(this.#error);
    else this.#socket.resume();
  }

  write(bytes: Uint8Array): boolean {
    // The other wire's chunk is its own: Node makes a new one for each read.
    return this.#socket.write(bytes);
  }

  end(): void {
    this.#socket.end();
  }

  close(): void {
    this.#quiet();
    this.#socket.destroySoon();
  }

  reset(): void {
    this.#quiet();
    const socket = this.#socket;
    // Node cannot reset while the end is on its way, and would keep the file descriptor.
    if (!socket.writableEnded || socket.writableFinished) socket.resetAndDestroy();
    else socket.once('finish', () => socket.resetAndDestroy());
  }

  keepAlive(): void {
    this.#socket.setKeepAlive(true, keepAliveMs);
  }

  rest(): void {
    // Node's streams keep no buffer of their own.
  }

  peer(): Place | undefined {
    return placeOf(this.#socket.remoteAddress, this.#socket.remotePort);
  }

  here(): Place | undefined {
    return placeOf(this.#socket.localAddress, this.#socket.localPort);
  }

  #quiet(): void {
    this.#events = undefined;
    this.#done = undefined;
  }

  #failed(code: string): void {
    this.#error = code;
    const done = this.#done;
    this.#done = undefined;
    if (done !== undefined) done(code);
    else this.#events?.failed(code);
  }
}

function placeOf(text: string | undefined, port: number | undefined): Place | undefined {
  const address = text === undefined ? undefined : parseAddress(text.replace(/%.*/, ''));
  return address === undefined || port === undefined ? undefined : { address, port };
}
