import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Address } from '../../src/ip/address.ts';
import type {
  ListenFailure,
  Listener,
  ListenerKey,
  ListenerStats,
  RelayEndpoint,
  RelayPool,
} from '../../src/relay/relay.ts';
import { SocketRelay } from '../../src/relay/socket-relay.ts';
import type { RelayOptions } from '../../src/relay/socket-relay.ts';

/** Only a network of our own has no other device than its loopback. */
export const ownNetwork = Object.keys(networkInterfaces()).every((name) => name === 'lo');

export const local = '127.0.0.1' as Address;
const deadlineMs = 20_000;

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Answers when `ask` does not throw and does not answer false, or throws what it threw last. */
export async function eventually<T>(
  ask: () => T | false | Promise<T | false>,
  withinMs = deadlineMs,
): Promise<T> {
  const until = performance.now() + withinMs;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== false) return answer;
      if (performance.now() > until) throw new Error(`not in time: ${ask.toString()}`);
    } catch (error) {
      if (performance.now() > until) throw error;
    }
    await delay(5);
  }
}

/** A relay, with clients and endpoints around it, all on one loopback device. */
export class Stage {
  readonly relay: SocketRelay;
  readonly log: LogLine[] = [];
  readonly #ends: (() => void)[] = [];

  constructor(options: Partial<RelayOptions> = {}) {
    const line = (level: string) => (fields: object, message: string) => {
      this.log.push({ level, message, fields: fields as LogLine['fields'] });
    };
    this.relay = new SocketRelay({
      log: { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') },
      random: Math.random,
      workers: 2,
      ...options,
    });
  }

  /** A TCP endpoint; connections are handed to `serve`. */
  async endpoint(serve: (socket: Socket) => void, address = local): Promise<RelayEndpoint> {
    const server = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      this.#ends.push(() => socket.destroy());
      serve(socket);
    });
    server.listen({ port: 0, host: address, backlog: 4096 });
    await once(server, 'listening');
    this.#ends.push(() => server.close());
    return { address, port: (server.address() as AddressInfo).port, weight: 1 };
  }

  /** An endpoint that says its name to everybody, and ends. */
  async named(name: string): Promise<RelayEndpoint> {
    return this.endpoint((socket) => {
      socket.resume();
      socket.end(name);
    });
  }

  /** A UDP endpoint that answers each datagram. */
  async udpEndpoint(
    answer: (bytes: Buffer, from: dgram.RemoteInfo) => string | Uint8Array | undefined,
    address = local,
  ): Promise<RelayEndpoint> {
    const socket = await this.udpSocket(address);
    socket.on('message', (bytes, from) => {
      const reply = answer(bytes, from);
      if (reply !== undefined) socket.send(reply, from.port, from.address);
    });
    return { address, port: socket.address().port, weight: 1 };
  }

  async udpSocket(address: string = local): Promise<dgram.Socket> {
    const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.on('error', () => {});
    socket.bind(0, address);
    await once(socket, 'listening');
    this.#ends.push(() => {
      try {
        socket.close();
      } catch {
        // closed by the test
      }
    });
    return socket;
  }

  /** A connected client. `from`: its address. */
  async client(
    to: { readonly port: number; readonly address: Address },
    from?: string,
  ): Promise<Client> {
    const socket = net.connect({
      port: to.port,
      host: to.address,
      allowHalfOpen: true,
      ...(from === undefined ? {} : { localAddress: from }),
    });
    const client = new Client(socket);
    this.#ends.push(() => socket.destroy());
    await once(socket, 'connect');
    return client;
  }

  /** What a client gets to read, or the error it gets. */
  async ask(
    to: { readonly port: number; readonly address: Address },
    from?: string,
  ): Promise<string> {
    try {
      const client = await this.client(to, from);
      return await client.whole();
    } catch (error) {
      return (error as { code: string }).code;
    }
  }

  /** Opens and admits listeners. */
  async open(...listeners: readonly Listener[]): Promise<readonly ListenFailure[]> {
    const failures = await this.relay.change({ close: [], open: listeners });
    await this.relay.admit(listeners.map(({ key }) => key));
    return failures;
  }

  stats(key: string): ListenerStats {
    const stats = this.relay.stats().get(key as ListenerKey);
    if (stats === undefined) throw new Error(`no statistics of ${key}`);
    return stats;
  }

  async close(): Promise<void> {
    for (const end of this.#ends) end();
    await this.relay.close();
  }
}

/** A TCP client that keeps what it reads, and how it ended. */
export class Client {
  readonly socket: Socket;
  bytes = 0;
  text = '';
  isEnded = false;
  error: string | undefined;
  #isReading = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', (error) => {
      this.error = (error as NodeJS.ErrnoException).code ?? error.message;
    });
  }

  read(): this {
    if (this.#isReading) return this;
    this.#isReading = true;
    this.socket.on('data', (chunk: Buffer) => {
      this.bytes += chunk.length;
      if (this.text.length < 65_536) this.text += chunk.toString('latin1');
    });
    this.socket.on('end', () => {
      this.isEnded = true;
    });
    return this;
  }

  /** All there is to read, up to the end; rejects where there is no end but an error. */
  async whole(): Promise<string> {
    this.read();
    await eventually(() => this.isEnded || this.error !== undefined);
    if (this.error !== undefined) throw Object.assign(new Error(this.error), { code: this.error });
    this.socket.end();
    return this.text;
  }
}

let lastPort = 20_000;

/** A listener on a port of its own. */
export function listener(
  key: string,
  endpoints: readonly RelayEndpoint[],
  pool: Partial<RelayPool> = {},
  more: Partial<Listener> = {},
): Listener {
  return {
    key: key as ListenerKey,
    address: local,
    port: ++lastPort,
    protocol: 'TCP',
    routes: [{ sources: undefined, to: poolOf(endpoints, pool) }],
    ...more,
  };
}

export function poolOf(
  endpoints: readonly RelayEndpoint[],
  pool: Partial<RelayPool> = {},
): RelayPool {
  return {
    endpoints,
    affinitySeconds: undefined,
    udpIdleMs: 2000,
    drainSeconds: 60,
    proxyProtocol: false,
    ...pool,
  };
}
