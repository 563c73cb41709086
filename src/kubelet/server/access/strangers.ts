import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { Clock } from '../../../clock.ts';
import type { RefusalReason } from '../../../telemetry/connection-metrics.ts';

/** What those get who have not shown that they may ask for anything. */
export interface StrangerLimits {
  /** Connections of theirs at once, without those whose TLS handshake is not done: they may be about to show a certificate. */
  readonly most: number;
  /** With these. */
  readonly mostInAll: number;
  /** From the connection to the end of the head of a request, TLS included. */
  readonly askMs: number;
  /** How long a connection may stay without a request once one was answered. */
  readonly idleMs: number;
  /** Requests at once by one connection: HTTP lets a client ask again before it has an answer. */
  readonly atOnce: number;
}

export interface StrangersOptions {
  readonly limits: StrangerLimits;
  readonly clock: Clock;
  readonly refused: (reason: RefusalReason, address: string) => void;
}

interface Stranger {
  readonly socket: Socket;
  readonly address: string;
  readonly path: string;
  /** Whether its TLS handshake is not done. */
  isGreeting: boolean;
  /** Requests that have no whole answer yet. */
  asking: number;
  /** Ends the wait for its next request. */
  waiting: AbortController | undefined;
}

/**
 * The connections to a port, and among them those of which nobody knows yet whether they may ask for anything: these have little time and
 * little room. Where there are too many, one of the address that has most of them goes, so that who floods a port stands in nobody's way but
 * his own. Handshakes have more room: each connection of one whose certificate is good (the API server has one for each log and exec) is a
 * stranger's, too, until its own is done. A client certificate that the port's authority has signed, or a request that was let in, ends it.
 */
export class Strangers {
  readonly #options: StrangersOptions;
  /** In order of arrival, by the connections as TCP has them. */
  readonly #strangers = new Map<Socket, Stranger>();
  readonly #byPath = new Map<string, Stranger>();
  /** By what TLS has made of these. */
  readonly #secured = new WeakMap<Socket, Stranger>();
  #known = 0;

  constructor(options: StrangersOptions) {
    this.#options = options;
  }

  /** Connections now. */
  get count(): { readonly known: number; readonly strangers: number } {
    return { known: this.#known, strangers: this.#strangers.size };
  }

  /** Looks at the connections of a server from now on, of one that speaks TLS or plainly. */
  attach(server: Server): void {
    const isGreeting = server instanceof TlsServer;
    server.on('connection', (socket: Socket) => this.#came(socket, isGreeting));
    server.on('secureConnection', (socket: TLSSocket) => this.#spoke(socket));
  }

  /** A request that has just come by this connection. false: it was one too many, and the connection is ended. */
  asks(socket: Socket, response: ServerResponse): boolean {
    const stranger = this.#of(socket);
    if (stranger === undefined) return true;
    const { atOnce, idleMs } = this.#options.limits;
    stranger.waiting?.abort();
    stranger.asking += 1;
    response.once('close', () => {
      stranger.asking -= 1;
      if (stranger.asking === 0 && this.#has(stranger)) void this.#wait(stranger, idleMs);
    });
    if (stranger.asking <= atOnce) return true;
    this.#refuse(stranger, 'at_once');
    return false;
  }

  /** Whether nothing speaks for whoever is at this connection's other end. */
  isStranger(socket: Socket): boolean {
    return this.#of(socket) !== undefined;
  }

  /** May ask for something, and has as much time as anybody. */
  known(socket: Socket): void {
    const stranger = this.#of(socket);
    if (stranger !== undefined) this.#introduce(stranger);
  }

  /** Ends all of them; the others are the server's. */
  stop(): void {
    for (const { socket } of this.#strangers.values()) socket.destroy();
  }

  #came(socket: Socket, isGreeting: boolean): void {
    const stranger: Stranger = {
      socket,
      address: socket.remoteAddress ?? '',
      path: pathOf(socket),
      isGreeting,
      asking: 0,
      waiting: undefined,
    };
    socket.once('close', () => this.#forget(stranger));
    this.#strangers.set(socket, stranger);
    this.#byPath.set(stranger.path, stranger);
    void this.#wait(stranger, this.#options.limits.askMs);
    this.#makeRoomFor(stranger);
  }

  /** TLS is spoken: there may be a certificate, which the handshake has checked. */
  #spoke(socket: TLSSocket): void {
    const stranger = this.#byPath.get(pathOf(socket));
    if (stranger === undefined) return;
    if (socket.authorized) {
      this.#introduce(stranger);
      return;
    }
    this.#secured.set(socket, stranger);
    stranger.isGreeting = false;
    this.#makeRoomFor(stranger);
  }

  #makeRoomFor(stranger: Stranger): void {
    for (;;) {
      const victim = victimOf(this.#crowd().filter((each) => each !== stranger));
      if (victim === undefined) return;
      this.#refuse(victim, 'too_many');
    }
  }

  /** Those of whom one has to go; none where there is room. */
  #crowd(): readonly Stranger[] {
    const { most, mostInAll } = this.#options.limits;
    const all = [...this.#strangers.values()];
    if (all.length > mostInAll) return all;
    const counted = all.filter(({ isGreeting }) => !isGreeting);
    return counted.length > most ? counted : [];
  }

  async #wait(stranger: Stranger, ms: number): Promise<void> {
    const { signal } = (stranger.waiting = new AbortController());
    await this.#options.clock.sleep(ms, signal);
    if (!signal.aborted) this.#refuse(stranger, 'too_slow');
  }

  #refuse(stranger: Stranger, reason: RefusalReason): void {
    this.#forget(stranger);
    stranger.socket.destroy();
    this.#options.refused(reason, stranger.address);
  }

  #introduce(stranger: Stranger): void {
    this.#forget(stranger);
    this.#known += 1;
    stranger.socket.once('close', () => (this.#known -= 1));
  }

  #forget(stranger: Stranger): void {
    stranger.waiting?.abort();
    this.#strangers.delete(stranger.socket);
    if (this.#byPath.get(stranger.path) === stranger) this.#byPath.delete(stranger.path);
  }

  #has({ socket }: Stranger): boolean {
    return this.#strangers.has(socket);
  }

  #of(socket: Socket): Stranger | undefined {
    const stranger = this.#secured.get(socket) ?? this.#strangers.get(socket);
    return stranger !== undefined && this.#has(stranger) ? stranger : undefined;
  }
}

/** The one that has waited longest of the address that has most, and rather one that asks nothing. */
function victimOf(crowd: readonly Stranger[]): Stranger | undefined {
  let most: readonly Stranger[] = [];
  for (const group of Map.groupBy(crowd, ({ address }) => address).values()) {
    if (group.length > most.length) most = group;
  }
  return most.find(({ asking }) => asking === 0) ?? most[0];
}

/** What a connection has for itself alone, and its sockets in TCP and TLS share. */
function pathOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
