import { systemCode } from '../error.ts';
import type { Place } from './proxy-protocol.ts';

/** Who is told what happens at a wire. Words for errors are the system's: `ECONNRESET`. */
export interface WireEvents {
  /**
   * Bytes came. They are good until this returns; answering false keeps them as they are and stops reading, both until `resume`.
   */
  data(chunk: Uint8Array): boolean;
  /** The peer sends no more. Told once, and after all data. */
  ended(): void;
  /** The connection is no more. */
  failed(code: string): void;
  /** Nothing can be sent any more; what the peer has sent may still be read, until `ended` or `failed`. */
  broken(code: string): void;
  /** What `write` had to keep is sent. */
  sent(): void;
}

/** A TCP connection. Nobody is told anything before the first `resume`, nor after `close` or `reset`. */
export interface Wire {
  /** Tells somebody else from now on. */
  tell(events: WireEvents): void;
  resume(): void;
  /** True: the bytes are taken. False: they have to stay as they are until `sent`, and nothing may be written before that. */
  write(bytes: Uint8Array): boolean;
  /** Sends the end, after all that was written. */
  end(): void;
  /** Lets go; what was written is still sent. */
  close(): void;
  /** Lets go; the peer is told that the connection has failed. */
  reset(): void;
  /** Looks after a peer that vanishes without a word. */
  keepAlive(): void;
  /** Called now and then: gives back what a wire without traffic does not need. */
  rest(): void;
  /** Undefined where the connection is no more. */
  peer(): Place | undefined;
  /** Our own end. */
  here(): Place | undefined;
}

export interface WireListener {
  accepted(wire: Wire): void;
  /** A connection could not be taken: `EMFILE`. Listening goes on. */
  failed(code: string): void;
}

/** A way to use the system's TCP sockets. */
export interface Wires {
  /**
   * Takes connections; answers what stops it. Rejects with an error that has the system's `code`. `shared`: others listen at
   * the same place, and connections are spread over them.
   */
  listen(place: Place, shared: boolean, listener: WireListener): Promise<() => Promise<void>>;
  /** A wire that is not connected yet; `done` is told how it went, in a later turn of the event loop. */
  connect(place: Place, done: (failure: string | undefined) => void): Wire;
}

/** Probes begin after so long without traffic, and follow each other so. */
export const keepAliveMs = 30_000;

/** Connections that may wait to be taken; the kernel's own limit (net.core.somaxconn) is lower on many systems. */
export const backlog = 4096;

/** What an operator can do about file descriptors that run out. */
export const filesCure =
  'raise the limit of open files: LimitNOFILE= of a systemd unit, ulimit -n of a shell';

/** An error of the system, by its code. */
export function systemError(code: string, what: string): Error {
  return Object.assign(new Error(`${what}: ${code}`), { code });
}

/** The system's word for an error: `EADDRINUSE`. */
export function codeOf(error: unknown): string {
  return systemCode(error) ?? 'UNKNOWN';
}
