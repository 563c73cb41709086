import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { familyOf } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import type { Choice, Chosen } from './choice.ts';
import { codeOf } from './wire.ts';

/** Datagrams wait in a socket's queue where the kernel takes no more; beyond so many bytes they are lost. */
export const mostQueuedBytes = 4 * 2 ** 20;

/** Datagrams that come before the flow's socket is connected: a turn of the event loop. */
const mostEarly = 64;

export interface FlowEvents {
  /** An answer for the client. */
  readonly answered: (bytes: Uint8Array) => void;
  /** The endpoint refuses, or its socket cannot be had: nothing more comes of this socket. */
  readonly failed: (code: string) => void;
}

/** A client's datagrams to one endpoint, over a socket that hears this endpoint alone. */
export class UdpFlow {
  readonly client: string;
  readonly choice: Choice;
  readonly chosen: Chosen;
  /** Milliseconds of the clock when something has passed last. */
  touched: number;
  readonly #socket: Socket;
  #early: Uint8Array[] | undefined = [];
  #isClosed = false;
  #hasFailed = false;

  constructor(client: string, choice: Choice, chosen: Chosen, now: number) {
    this.client = client;
    this.choice = choice;
    this.chosen = chosen;
    this.touched = now;
    this.#socket = openSocket(chosen.target.endpoint.address);
  }

  /** To be called once; events may come before it returns. */
  start({ answered, failed }: FlowEvents): void {
    const { address, port } = this.chosen.target.endpoint;
    const fail = (error: unknown): void => {
      if (!this.#isClosed) failed(codeOf(error));
    };
    this.#socket.on('message', answered);
    this.#socket.on('error', fail);
    this.#socket.connect(port, address, (error?: Error) => {
      if (error !== undefined && error !== null) fail(error);
      else this.#connected();
    });
  }

  send(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    if (this.#early !== undefined) {
      if (this.#early.length < mostEarly) this.#early.push(bytes);
      return;
    }
    if (this.#socket.getSendQueueSize() > mostQueuedBytes) return;
    this.#socket.send(bytes, (error) => {
      if (error !== null) this.#socket.emit('error', error);
    });
  }

  /** Its endpoint does not serve. It stands until the client sends again, or is idle. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  fail(): void {
    this.#hasFailed = true;
    this.close();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#socket.removeAllListeners('message');
    this.#socket.close();
  }

  #connected(): void {
    if (this.#isClosed) return;
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const bytes of early) this.send(bytes);
  }
}

/** A UDP socket that asks nobody for an address. */
export function openSocket(address: Address): Socket {
  const type = familyOf(address) === 'ipv6' ? 'udp6' : 'udp4';
  return createSocket({
    type,
    ipv6Only: type === 'udp6',
    lookup: (host, _, found) => {
      found(null, host, type === 'udp6' ? 6 : 4);
    },
  });
}
