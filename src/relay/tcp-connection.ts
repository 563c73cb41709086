import { Buffer } from 'node:buffer';
import type { Counters } from './counters.ts';
import type { Wire, WireEvents } from './wire.ts';

/** So much a client may send before its endpoint has answered; the rest waits in the kernel. */
const mostEarlyBytes = 64 * 1024;

/** A client whose endpoint is still being dialled: what it sends is kept. */
export class Arrival implements WireEvents {
  readonly client: Wire;
  readonly #gone: () => void;
  readonly #early: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;

  /** `gone` is called when the client has given up. */
  constructor(client: Wire, gone: () => void) {
    this.client = client;
    this.#gone = gone;
    client.tell(this);
    client.resume();
  }

  data(chunk: Uint8Array): boolean {
    this.#bytes += chunk.length;
    const goesOn = this.#bytes < mostEarlyBytes;
    this.#early.push(goesOn ? Buffer.from(chunk) : chunk);
    return goesOn;
  }

  ended(): void {
    this.#ended = true;
  }

  failed(): void {
    this.#gone();
  }

  broken(): void {
    // Nothing is written to it yet.
  }

  sent(): void {
    // Nothing is written to it yet.
  }

  /** What it has sent so far. Whoever asks takes the client over. */
  soFar(): { readonly bytes: readonly Uint8Array[]; readonly ended: boolean } {
    return { bytes: this.#early, ended: this.#ended };
  }
}

/** One end of a connection: reads from its wire what the other end's wire has to send. */
class End implements WireEvents {
  readonly wire: Wire;
  readonly #connection: TcpConnection;
  readonly #counts: 'bytesIn' | 'bytesOut';
  /** Its peer sends no more. */
  over = false;
  /** The other wire has not sent all that was read here. */
  waits = false;
  /** Nothing can be sent to its peer. */
  isBroken = false;

  constructor(wire: Wire, connection: TcpConnection, counts: 'bytesIn' | 'bytesOut') {
    this.wire = wire;
    this.#connection = connection;
    this.#counts = counts;
  }

  data(chunk: Uint8Array): boolean {
    this.#connection.counters.add(this.#counts, chunk.length);
    const to = this.#connection.opposite(this);
    if (to.isBroken) return false;
    this.waits = !to.wire.write(chunk);
    return !this.waits;
  }

  sent(): void {
    const from = this.#connection.opposite(this);
    from.waits = false;
    if (from.over) this.#connection.pass(from);
    else from.wire.resume();
  }

  ended(): void {
    this.over = true;
    if (!this.waits) this.#connection.pass(this);
  }

  failed(): void {
    this.#connection.reset();
  }

  broken(): void {
    this.isBroken = true;
    if (this.over) this.#connection.reset();
  }
}

/** A client and its endpoint: what one sends goes to the other, ends and resets included. */
export class TcpConnection {
  readonly counters: Counters;
  /** The endpoint's name. */
  readonly target: string;
  readonly #client: End;
  readonly #server: End;
  readonly #closed: (connection: TcpConnection) => void;
  #isKeptAlive = false;
  #isOver = false;

  constructor(
    client: Wire,
    server: Wire,
    target: string,
    counters: Counters,
    closed: (connection: TcpConnection) => void,
  ) {
    this.counters = counters;
    this.target = target;
    this.#client = new End(client, this, 'bytesIn');
    this.#server = new End(server, this, 'bytesOut');
    this.#closed = closed;
  }

  /** `early`: what has to be sent to the endpoint first, of which the first `own` bytes are not the client's. */
  start(early: readonly Uint8Array[], own: number, clientEnded: boolean): void {
    const [client, server] = [this.#client, this.#server];
    client.wire.tell(client);
    server.wire.tell(server);
    client.over = clientEnded;
    if (early.length > 0) {
      const bytes = early.length === 1 && early[0] ? early[0] : Buffer.concat(early);
      this.counters.add('bytesIn', bytes.length - own);
      client.waits = !server.wire.write(bytes);
    }
    server.wire.resume();
    if (client.waits) return;
    if (clientEnded) this.pass(client);
    else client.wire.resume();
  }

  opposite(end: End): End {
    return end === this.#client ? this.#server : this.#client;
  }

  /** One end is over, and all it has sent is sent on. */
  pass(from: End): void {
    const to = this.opposite(from);
    if (from.isBroken) this.reset();
    else if (to.over && !to.waits) this.#end('close');
    else to.wire.end();
  }

  reset(): void {
    this.#end('reset');
  }

  upkeep(): void {
    if (this.#hasLostClient()) {
      this.reset();
      return;
    }
    for (const { wire } of [this.#client, this.#server]) {
      if (!this.#isKeptAlive) wire.keepAlive();
      wire.rest();
    }
    this.#isKeptAlive = true;
  }

  /**
   * A wire that is not read does not tell that its peer has reset it; one that both have ended has no peer either. What an
   * endpoint has sent before it went is still the client's.
   */
  #hasLostClient(): boolean {
    const { over, waits, wire } = this.#client;
    return (over || waits) && !this.#server.over && wire.peer() === undefined;
  }

  #end(how: 'close' | 'reset'): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#client.wire[how]();
    this.#server.wire[how]();
    this.#closed(this);
  }
}
