import type { Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';

/** How actors talk. The program below knows no `sctp`: Node has no such sockets. */
export type Transport = 'tcp' | 'udp' | 'sctp';

/** What an actor is asked, one JSON object a line on its standard input. */
export type ActorRequest =
  | {
      readonly id: number;
      readonly do: 'serve';
      readonly proto: Transport;
      readonly address: string;
      readonly port: number;
      readonly name: string;
    }
  | {
      readonly id: number;
      /** `open` keeps the connection (or the UDP socket) for `again`; `ask` ends it. */
      readonly do: 'ask' | 'open';
      readonly proto: Transport;
      readonly to: string;
      readonly port: number;
      readonly from?: string;
      readonly fromPort?: number;
      readonly timeoutMs: number;
    }
  | {
      readonly id: number;
      readonly do: 'again';
      readonly handle: number;
      readonly timeoutMs: number;
    }
  | { readonly id: number; readonly do: 'drop'; readonly handle: number }
  | { readonly id: number; readonly do: 'get'; readonly url: string; readonly timeoutMs: number };

/** The program of {@link runActor}, for `node -e`. */
export function actorProgram(): string {
  return `(${runActor.toString()})()`;
}

/**
 * An actor in a network namespace: it serves and asks on command, so that a request costs no new
 * process. The function is handed to another process as text: it may refer to nothing outside itself.
 */
/* oxlint-disable unicorn/consistent-function-scoping -- the function has to be whole by itself */
function runActor(): void {
  const net = process.getBuiltinModule('node:net');
  const dgram = process.getBuiltinModule('node:dgram');
  const { createInterface } = process.getBuiltinModule('node:readline');

  type Ask = Extract<ActorRequest, { do: 'ask' | 'open' }>;
  interface Connection {
    readonly send: () => void;
    readonly close: () => void;
    /** Told the next line, or how the connection failed. */
    onWord: (word: string) => void;
  }
  const held = new Map<number, Connection>();
  const answer = (id: number, result: unknown): void => {
    process.stdout.write(`${JSON.stringify({ id, result })}\n`);
  };
  const plain = (address: string | undefined): string => (address ?? '').replace(/^::ffff:/, '');
  const failure = (error: NodeJS.ErrnoException): string => {
    const words: Record<string, string> = {
      ECONNREFUSED: 'refused',
      ETIMEDOUT: 'timeout',
      ECONNRESET: 'closed',
      EPIPE: 'closed',
    };
    return words[error.code ?? ''] ?? error.code ?? error.message;
  };

  function serve({ id, proto, address, port, name }: Extract<ActorRequest, { do: 'serve' }>): void {
    const done = (): void => answer(id, 'serving');
    const failed = (error: Error): void => answer(id, { error: error.message });
    if (proto === 'tcp') {
      const server = net.createServer((socket) => {
        socket.on('error', () => socket.destroy());
        socket.on('data', () => socket.write(`${name} ${plain(socket.remoteAddress)}\n`));
      });
      server.on('error', failed).listen({ host: address, port, backlog: 511 }, done);
      return;
    }
    const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
    socket.on('message', (_, peer) => {
      socket.send(`${name} ${plain(peer.address)}\n`, peer.port, peer.address);
    });
    socket.on('error', failed).bind({ address, port }, done);
  }

  function tcp({ to, port, from, fromPort }: Ask): Connection {
    const own = { ...(from && { localAddress: from }), ...(fromPort && { localPort: fromPort }) };
    const socket: Socket = net.connect({ host: to, port, ...own });
    const connection: Connection = {
      // One that has ended says so only once by itself.
      send: () => void (socket.destroyed ? connection.onWord('closed') : socket.write('?\n')),
      close: () => void socket.destroy(),
      onWord: () => {},
    };
    socket.on('data', (data) => connection.onWord(String(data).trim()));
    socket.on('error', (error) => connection.onWord(failure(error)));
    socket.on('close', () => connection.onWord('closed'));
    return connection;
  }

  function udp({ to, port, from, fromPort }: Ask): Connection {
    const socket: UdpSocket = dgram.createSocket(to.includes(':') ? 'udp6' : 'udp4');
    const ready = new Promise<void>((resolve) => {
      socket.bind({ port: fromPort ?? 0, ...(from ? { address: from } : {}) }, () => {
        socket.connect(port, to, () => resolve());
      });
    });
    // What keeps a packet from being sent is no event of the socket. EPERM is a rule's doing: a refusal is an event, too, and
    // of what is dropped nobody is told.
    const told = (error: NodeJS.ErrnoException | null): void => {
      if (error !== null && error.code !== 'EPERM') connection.onWord(failure(error));
    };
    const connection: Connection = {
      send: () => {
        void ready.then(() => socket.send('?\n', told));
      },
      close: () => void socket.close(),
      onWord: () => {},
    };
    socket.on('message', (data) => connection.onWord(String(data).trim()));
    socket.on('error', (error) => connection.onWord(failure(error)));
    return connection;
  }

  function askOnce(id: number, connection: Connection, timeoutMs: number, keep: boolean): void {
    const finish = (word: string): void => {
      clearTimeout(timer);
      clearImmediate(late);
      connection.onWord = () => {};
      if (!keep) connection.close();
      const [answeredBy = '', sourceSeen] = word.split(' ');
      answer(id, sourceSeen === undefined ? answeredBy : { answeredBy, sourceSeen });
    };
    // An answer that has come while this process stood still is read first.
    let late: NodeJS.Immediate | undefined;
    const timer = setTimeout(() => {
      late = setImmediate(() => finish('timeout'));
    }, timeoutMs);
    connection.onWord = finish;
    connection.send();
  }

  async function get({ id, url, timeoutMs }: Extract<ActorRequest, { do: 'get' }>): Promise<void> {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
      answer(id, { status: response.status, body: await response.text() });
    } catch {
      answer(id, { status: 0, body: '' });
    }
  }

  function connect(request: Ask): void {
    const connection = request.proto === 'tcp' ? tcp(request) : udp(request);
    if (request.do === 'open') held.set(request.id, connection);
    askOnce(request.id, connection, request.timeoutMs, request.do === 'open');
  }

  function obey(request: ActorRequest): void {
    if ('proto' in request && request.proto === 'sctp') {
      return answer(request.id, { error: 'Node has no sockets for SCTP' });
    }
    switch (request.do) {
      case 'serve':
        return serve(request);
      case 'ask':
      case 'open':
        return connect(request);
      case 'again': {
        const connection = held.get(request.handle);
        if (connection) return askOnce(request.id, connection, request.timeoutMs, true);
        return answer(request.id, 'closed');
      }
      case 'drop':
        held.get(request.handle)?.close();
        held.delete(request.handle);
        return answer(request.id, 'dropped');
      case 'get':
        return void get(request);
    }
  }

  // A signal to the whole terminal is for the parent: this process ends with its standard input.
  process.on('SIGINT', () => {});
  createInterface({ input: process.stdin })
    .on('line', (line) => obey(JSON.parse(line) as ActorRequest))
    .on('close', () => process.exit(0));
}
