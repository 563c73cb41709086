import type { ServerResponse } from 'node:http';
import type { Server, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { RefusalReason } from '../../telemetry/connection-metrics.ts';

/** What those get who have not shown that they may ask for anything. */
export interface StrangerLimits {
  /** Connections of theirs at once. */
  readonly most: number;
  /** From the connection to the end of the head of a request, TLS included. */
  readonly askMs: number;
  /** How long a connection may stay without a request once one was answered. */
  readonly idleMs: number;
  /** Requests at once by one connection: HTTP lets a client ask again before it has an answer. */
  readonly atOnce: number;
}

export interface StrangersOptions {
  readonly limits: StrangerLimits;
  readonly refused: (reason: RefusalReason, address: string) => void;
}

interface Stranger {
  readonly socket: Socket;
  readonly address: string;
  /** Requests that have no whole answer yet. */
  asking: number;
  timer: NodeJS.Timeout | undefined;
}

/**
 * The connections to a port, and among them those of which nobody knows yet whether they may ask for anything: these have little time and
 * little room. Where there are too many, one of the address that has most of them goes, so that who floods a port stands in nobody's way but
 * his own. A client certificate that the port's authority has signed, or a request that was let in, ends it.
 */
export class Strangers {
  readonly #options: StrangersOptions;
  /** In order of arrival, by the connections as TCP has them. */
  readonly #strangers = new Map<Socket, Stranger>();
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
    server.on('connection', (socket: Socket) => this.#came(socket));
    server.on('secureConnection', (socket: TLSSocket) => this.#spoke(socket));
  }

  /** A request that has just come by this connection. false: it was one too many, and the connection is ended. */
  asks(socket: Socket, response: ServerResponse): boolean {
    const stranger = this.#of(socket);
    if (stranger === undefined) return true;
    const { atOnce, idleMs } = this.#options.limits;
    clearTimeout(stranger.timer);
    stranger.asking += 1;
    response.once('close', () => {
      stranger.asking -= 1;
      if (stranger.asking === 0 && this.#has(stranger)) this.#wait(stranger, idleMs);
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

  #came(socket: Socket): void {
    const { limits } = this.#options;
    const stranger: Stranger = {
      socket,
      address: socket.remoteAddress ?? '',
      asking: 0,
      timer: undefined,
    };
    socket.once('close', () => this.#forget(stranger));
    if (this.#strangers.size >= limits.most) this.#makeRoom();
    this.#strangers.set(socket, stranger);
    this.#wait(stranger, limits.askMs);
  }

  /** TLS is spoken: there may be a certificate, which the handshake has checked. */
  #spoke(socket: TLSSocket): void {
    const path = pathOf(socket);
    const stranger = [...this.#strangers.values()].find((each) => pathOf(each.socket) === path);
    if (stranger === undefined) return;
    if (socket.authorized) this.#introduce(stranger);
    else this.#secured.set(socket, stranger);
  }

  /** The one that has waited longest of the address that has most, and rather one that has not asked yet. */
  #makeRoom(): void {
    const byAddress = Map.groupBy(this.#strangers.values(), ({ address }) => address);
    let most: readonly Stranger[] = [];
    for (const group of byAddress.values()) if (group.length > most.length) most = group;
    const victim = most.find(({ asking }) => asking === 0) ?? most[0];
    if (victim !== undefined) this.#refuse(victim, 'too_many');
  }

  #wait(stranger: Stranger, ms: number): void {
    stranger.timer = setTimeout(() => this.#refuse(stranger, 'too_slow'), ms);
    stranger.timer.unref();
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
    clearTimeout(stranger.timer);
    this.#strangers.delete(stranger.socket);
  }

  #has({ socket }: Stranger): boolean {
    return this.#strangers.has(socket);
  }

  #of(socket: Socket): Stranger | undefined {
    const stranger = this.#secured.get(socket) ?? this.#strangers.get(socket);
    return stranger !== undefined && this.#has(stranger) ? stranger : undefined;
  }
}

/** What a connection has for itself alone, and its sockets in TCP and TLS share. */
function pathOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
