import process from 'node:process';

/**
 * What lies under Node's sockets: `tcp_wrap` and `stream_wrap`, without streams, events and a buffer for each read. They are
 * internal, so that only versions that our tests have run with are used, and only after a look that all is there.
 */
export interface TcpHandles {
  readonly TCP: new (type: number) => TcpHandle;
  readonly TCPConnectWrap: new () => ConnectRequest;
  readonly WriteWrap: new () => StreamRequest;
  readonly ShutdownWrap: new () => StreamRequest;
  readonly socketType: number;
  readonly serverType: number;
  readonly reusePort: number;
  readonly ipv6Only: number;
  /** What the last read or write on this thread came to. */
  readonly state: Int32Array;
  /** Indexes of `state`: bytes read or an error, and whether a write has to be waited for. */
  readonly bytesRead: number;
  readonly isLastWriteAsync: number;
}

/** All calls answer 0, or an error as a negative number. */
export interface TcpHandle {
  /** The number of its file descriptor. */
  readonly fd: number;
  bind(address: string, port: number, flags: number): number;
  bind6(address: string, port: number, flags: number): number;
  listen(backlog: number): number;
  connect(request: ConnectRequest, address: string, port: number): number;
  connect6(request: ConnectRequest, address: string, port: number): number;
  readStart(): number;
  readStop(): number;
  /** Reads go there, until `onread` answers another buffer. */
  useUserBuffer(buffer: Uint8Array): void;
  writeBuffer(request: StreamRequest, bytes: Uint8Array): number;
  shutdown(request: StreamRequest): number;
  setNoDelay(on: boolean): number;
  /** `delayS`: seconds. */
  setKeepAlive(on: boolean, delayS: number): number;
  getpeername(into: HandlePlace): number;
  getsockname(into: HandlePlace): number;
  close(done?: () => void): void;
  /** Closes by a reset. */
  reset(done?: () => void): number;
  onconnection: (error: number, handle: TcpHandle) => void;
  onread: () => Uint8Array | undefined;
}

export interface HandlePlace {
  address?: string;
  port?: number;
}

export interface StreamRequest {
  oncomplete: (error: number) => void;
}

export interface ConnectRequest {
  oncomplete: (error: number) => void;
}

/** Major versions of Node that this was tested with. */
const testedMajors = new Set([24]);

/** Undefined where this Node is not one of those. */
export function tcpHandles(): TcpHandles | undefined {
  const major = Number(process.versions.node.split('.')[0]);
  if (!testedMajors.has(major)) return undefined;
  try {
    return lookUp();
  } catch {
    return undefined; // not there, or not allowed (`--permission`)
  }
}

function lookUp(): TcpHandles | undefined {
  // Not in the types of Node: it is deprecated in the documentation alone (DEP0111).
  const inner = process as unknown as { binding(name: string): Record<string, unknown> };
  const tcp = inner.binding('tcp_wrap');
  const stream = inner.binding('stream_wrap');
  const constants = tcp['constants'] as Record<string, number>;
  const found = {
    TCP: tcp['TCP'],
    TCPConnectWrap: tcp['TCPConnectWrap'],
    WriteWrap: stream['WriteWrap'],
    ShutdownWrap: stream['ShutdownWrap'],
    socketType: constants['SOCKET'],
    serverType: constants['SERVER'],
    reusePort: constants['UV_TCP_REUSEPORT'],
    ipv6Only: constants['UV_TCP_IPV6ONLY'],
    state: stream['streamBaseState'],
    bytesRead: stream['kReadBytesOrError'],
    isLastWriteAsync: stream['kLastWriteWasAsync'],
  };
  const whole = Object.values(found).every((part) => part !== undefined);
  return whole && hasMethods(found.TCP) ? (found as unknown as TcpHandles) : undefined;
}

const methods = [
  'bind',
  'bind6',
  'listen',
  'connect',
  'connect6',
  'readStart',
  'readStop',
  'useUserBuffer',
  'writeBuffer',
  'shutdown',
  'setNoDelay',
  'setKeepAlive',
  'getpeername',
  'getsockname',
  'close',
  'reset',
] as const satisfies readonly (keyof TcpHandle)[];

function hasMethods(kind: unknown): boolean {
  if (typeof kind !== 'function') return false;
  const prototype = kind.prototype as Record<string, unknown>;
  return methods.every((name) => typeof prototype[name] === 'function');
}
