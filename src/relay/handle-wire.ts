import { setImmediate } from 'node:timers/promises';
import { getSystemErrorName } from 'node:util';
import { parseAddress } from '../ip/address.ts';
import type { Place } from './proxy-protocol.ts';
import { ReadBuffers } from './read-buffers.ts';
import type { HandlePlace, StreamRequest, TcpHandle, TcpHandles } from './tcp-handles.ts';
import { backlog, keepAliveMs, systemError } from './wire.ts';
import type { Wire, WireEvents, WireListener, Wires } from './wire.ts';

/** libuv's number for the end of a stream. */
const endOfFile = -4095;

/** More than wait at a socket that nobody floods. */
const mostLast = 128;

/** What the wires of one thread have in common. */
interface Common {
  readonly handles: TcpHandles;
  readonly buffers: ReadBuffers;
  /** A request that no write has kept: most are done at once, and the next can have theirs. */
  spare: WriteRequest | undefined;
}

/** A write that is under way; its bytes are not collected before they are sent. */
interface WriteRequest extends StreamRequest {
  bytes?: Uint8Array | undefined;
}

/** TCP by the handles under Node's sockets. */
export class HandleWires implements Wires {
  readonly #handles: TcpHandles;
  readonly #mostFiles: number;
  readonly #common: Common;

  /**
   * `mostFiles`: connections are made as long as their descriptors have smaller numbers. The kernel gives the smallest number
   * that is free, so whatever else the process does always finds one.
   */
  constructor(handles: TcpHandles, mostFiles = Number.POSITIVE_INFINITY) {
    this.#handles = handles;
    this.#common = { handles, buffers: new ReadBuffers(), spare: undefined };
    this.#mostFiles = mostFiles;
  }

  async listen(
    place: Place,
    shared: boolean,
    listener: WireListener,
  ): Promise<() => Promise<void>> {
    const { TCP, serverType, reusePort, ipv6Only } = this.#handles;
    const handle = new TCP(serverType);
    const { address, port } = place;
    const flags = shared ? reusePort : 0;
    let came = 0;
    handle.onconnection = (error, client) => {
      came++;
      if (error < 0) listener.failed(getSystemErrorName(error));
      else if (client.fd >= this.#mostFiles) {
        client.reset();
        listener.failed('EMFILE');
      } else listener.accepted(new HandleWire(client, this.#common));
    };
    const error =
      (address.includes(':')
        ? handle.bind6(address, port, flags | ipv6Only)
        : handle.bind(address, port, flags)) || handle.listen(backlog);
    const close = async (): Promise<void> =>
      new Promise((resolve) => {
        handle.close(resolve);
      });
    const stop = async (): Promise<void> => {
      await untilNobodyWaits(() => came);
      await close();
    };
    if (error < 0) {
      await close();
      throw systemError(getSystemErrorName(error), 'listen');
    }
    return stop;
  }

  connect({ address, port }: Place, done: (failure: string | undefined) => void): Wire {
    const { TCP, TCPConnectWrap, socketType } = this.#handles;
    const handle = new TCP(socketType);
    const request = new TCPConnectWrap();
    request.oncomplete = told(done);
    const error = address.includes(':')
      ? handle.connect6(request, address, port)
      : handle.connect(request, address, port);
    if (error < 0 || handle.fd >= this.#mostFiles) {
      request.oncomplete = nobody; // who asked is told by the error
      handle.close();
      throw systemError(error < 0 ? getSystemErrorName(error) : 'EMFILE', 'connect');
    }
    return new HandleWire(handle, this.#common);
  }
}

/**
 * Waits until a look at the sockets has found no client: the kernel resets those that wait at a socket when it closes. Each turn of
 * the loop lets one in.
 */
async function untilNobodyWaits(came: () => number): Promise<void> {
  await setImmediate(); // the end of the present turn
  for (let turns = 0; turns < mostLast; turns++) {
    const before = came();
    await setImmediate();
    if (came() === before) return;
  }
}

// What a handle calls is made by functions of its own. V8 takes a function that is written where it is assigned to a property
// (`handle.onread = () => …`) for a method that stays, and allocates each among the old objects: everything that it closes
// over, a whole connection, then outlives the young generation, however short it was.

function told(done: (failure: string | undefined) => void): (error: number) => void {
  return (error) => {
    done(error < 0 ? getSystemErrorName(error) : undefined);
  };
}

const nobody = (): void => {};

class HandleWire implements Wire {
  readonly #handle: TcpHandle;
  readonly #common: Common;
  #events: WireEvents | undefined;
  /** This wire's own buffer; undefined: it reads into the common one. */
  #own: Uint8Array | undefined;
  /** Bytes of the own buffer are still needed. */
  #holds = false;
  #wasRead = false;
  #reads = false;
  #writes = 0;
  #isEnding = false;
  #isResetNext = false;

  constructor(handle: TcpHandle, common: Common) {
    this.#handle = handle;
    this.#common = common;
  }

  tell(events: WireEvents): void {
    if (this.#events === undefined) {
      this.#handle.useUserBuffer(this.#common.buffers.common);
      this.#handle.onread = HandleWire.#reader(this);
    }
    this.#events = events;
  }

  resume(): void {
    this.#holds = false;
    if (this.#reads) return; // twice is an error
    this.#reads = true;
    const error = this.#handle.readStart();
    if (error < 0) this.#events?.failed(getSystemErrorName(error));
  }

  write(bytes: Uint8Array): boolean {
    // A first write waits for nobody; to be spared the wait of later ones costs a system call.
    if (this.#writes++ === 1) this.#handle.setNoDelay(true);
    const common = this.#common;
    const { state, isLastWriteAsync, WriteWrap } = common.handles;
    const request: WriteRequest = common.spare ?? new WriteWrap();
    const error = this.#handle.writeBuffer(request, bytes);
    if (error === 0 && state[isLastWriteAsync] === 0) {
      common.spare = request;
      return true;
    }
    common.spare = undefined;
    if (error < 0) {
      this.#events?.broken(getSystemErrorName(error));
      return false;
    }
    request.bytes = bytes;
    request.oncomplete = HandleWire.#writer(this);
    return false;
  }

  end(): void {
    const request = new this.#common.handles.ShutdownWrap();
    request.oncomplete = HandleWire.#ender(this);
    this.#isEnding = this.#handle.shutdown(request) === 0;
  }

  close(): void {
    this.#letGo();
    this.#handle.close();
  }

  reset(): void {
    this.#letGo();
    // Node refuses a reset while the end is on its way, and then takes the handle for closed, which it never is.
    if (this.#isEnding) this.#isResetNext = true;
    else this.#handle.reset();
  }

  keepAlive(): void {
    this.#handle.setKeepAlive(true, keepAliveMs / 1000);
  }

  rest(): void {
    const wasRead = this.#wasRead;
    this.#wasRead = false;
    if (wasRead || this.#holds || this.#own === undefined) return;
    this.#handle.useUserBuffer(this.#common.buffers.common);
    this.#common.buffers.takeBack(this.#own);
    this.#own = undefined;
  }

  peer(): Place | undefined {
    const into: HandlePlace = {};
    return this.#handle.getpeername(into) < 0 ? undefined : placeOf(into);
  }

  here(): Place | undefined {
    const into: HandlePlace = {};
    return this.#handle.getsockname(into) < 0 ? undefined : placeOf(into);
  }

  static #reader(wire: HandleWire): () => Uint8Array | undefined {
    return () => wire.#read();
  }

  static #writer(wire: HandleWire): (status: number) => void {
    return (status) => {
      if (status < 0) wire.#events?.broken(getSystemErrorName(status));
      else wire.#events?.sent();
    };
  }

  static #ender(wire: HandleWire): () => void {
    return () => {
      // a peer that is gone is heard of when reading
      wire.#isEnding = false;
      if (wire.#isResetNext) wire.#handle.reset();
    };
  }

  /** Called by the handle; answers another buffer to read to. */
  #read(): Uint8Array | undefined {
    const { state, bytesRead } = this.#common.handles;
    const length = state[bytesRead] ?? 0;
    const events = this.#events;
    if (events === undefined || length === 0) return undefined;
    if (length < 0) {
      this.#handle.readStop();
      if (length === endOfFile) events.ended();
      else events.failed(getSystemErrorName(length));
      return undefined;
    }
    this.#wasRead = true;
    return this.#own === undefined
      ? this.#readCommon(events, length)
      : this.#readOwn(events, this.#own, length);
  }

  #readOwn(events: WireEvents, own: Uint8Array, length: number): undefined {
    this.#holds = true;
    if (events.data(length === own.length ? own : own.subarray(0, length))) this.#holds = false;
    else this.#pause();
  }

  #readCommon(events: WireEvents, length: number): Uint8Array | undefined {
    const buffers = this.#common.buffers;
    if (!events.data(buffers.copy(length))) {
      buffers.keep(length);
      this.#pause();
    }
    if (length < buffers.common.length || this.#events === undefined) return undefined;
    this.#own = buffers.lend();
    return this.#own;
  }

  /** Those who were told may have let go. */
  #pause(): void {
    if (this.#events === undefined) return;
    this.#reads = false;
    this.#handle.readStop();
  }

  #letGo(): void {
    this.#events = undefined;
    if (this.#own === undefined) return;
    this.#common.buffers.takeBack(this.#own);
    this.#own = undefined;
  }
}

function placeOf({ address: text = '', port }: HandlePlace): Place | undefined {
  const address = parseAddress(text.replace(/%.*/, ''));
  return address === undefined || port === undefined ? undefined : { address, port };
}
