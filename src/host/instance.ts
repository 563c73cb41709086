import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';

/** Another process that has the name. */
export interface Holder {
  /** What it says of itself; undefined where it says nothing within a second. */
  readonly said: string | undefined;
  /** Resolves when it has let go of the name, or ended. */
  readonly gone: Promise<void>;
  /** Waits no longer. */
  forget(): void;
}

const answerWithinMs = 1000;
const attempts = 16;
/** One line is said; more of it is not read. */
const mostSaid = 1000;

/**
 * A name that one process of a network namespace can have: an abstract unix socket, which the kernel takes back whatever
 * ends the process. Whoever connects is told one line, and sees the connection end with the hold.
 */
export class InstanceName {
  readonly #server: Server;
  readonly #clients: ReadonlySet<Socket>;

  private constructor(server: Server, clients: ReadonlySet<Socket>) {
    this.#server = server;
    this.#clients = clients;
  }

  /** The name, or who has it. `says`: what others are told, one line. */
  static async take(name: string, says: string): Promise<InstanceName | Holder> {
    for (let attempt = 1; ; attempt++) {
      const taken = await bind(name, says);
      if (taken !== undefined) return new InstanceName(taken.server, taken.clients);
      const holder = await ask(name);
      if (holder !== undefined) return holder;
      if (attempt === attempts) throw new Error(`the socket @${name} is neither free nor answers`);
    }
  }

  /** Others may have the name now. */
  release(): void {
    this.#server.close();
    for (const client of this.#clients) client.destroy();
  }
}

async function bind(
  name: string,
  says: string,
): Promise<{ readonly server: Server; readonly clients: ReadonlySet<Socket> } | undefined> {
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    clients.add(client);
    client.on('error', () => {}); // it went away: closed comes next
    client.on('close', () => clients.delete(client));
    client.resume();
    client.write(`${says}\n`);
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen(`\0${name}`, () => {
      server.unref();
      resolve({ server, clients });
    });
  });
}

/** Undefined where nobody has it any more. */
async function ask(name: string): Promise<Holder | undefined> {
  const socket = connect(`\0${name}`);
  const gone = new Promise<void>((resolve) => {
    socket.on('close', () => resolve());
  });
  const said = await new Promise<string | undefined | Error>((resolve) => {
    let text = '';
    const timer = setTimeout(() => resolve(undefined), answerWithinMs);
    const settle = (answer: string | undefined | Error): void => {
      clearTimeout(timer);
      resolve(answer);
    };
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      text = (text + chunk).slice(0, mostSaid);
      const end = text.indexOf('\n');
      if (end >= 0) settle(text.slice(0, end));
    });
    socket.on('error', settle);
    socket.on('end', () => settle(new Error('ended')));
  });
  if (said instanceof Error) {
    socket.destroy();
    return undefined;
  }
  return { said, gone, forget: () => void socket.destroy() };
}
