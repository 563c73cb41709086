import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';

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

/** A socket that others may ask. */
export interface Listening {
  /** Whoever is connected sees the end of it. */
  readonly close: () => void;
}

/**
 * A name that one process of a network namespace can have: an abstract unix socket, which the kernel takes back whatever
 * ends the process. Whoever connects is told one line, and sees the connection end with the hold. Anybody can take it, so
 * nothing may depend on it but what is said.
 */
export class InstanceName {
  readonly #listening: Listening;

  private constructor(listening: Listening) {
    this.#listening = listening;
  }

  /** The name, or who has it. `says`: what others are told, one line. */
  static async take(name: string, says: string): Promise<InstanceName | Holder> {
    for (let attempt = 1; ; attempt++) {
      const listening = await listenAt(`\0${name}`, says);
      if (listening !== undefined) return new InstanceName(listening);
      const holder = await ask(`\0${name}`);
      if (holder !== undefined) return holder;
      if (attempt === attempts) throw new Error(`the socket @${name} is neither free nor answers`);
    }
  }

  /** Others may have the name now. */
  release(): void {
    this.#listening.close();
  }
}

/** A socket that says one line to whoever connects; undefined where somebody has the place. */
export async function listenAt(path: string, says: string): Promise<Listening | undefined> {
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
    server.listen(path, () => {
      server.unref();
      resolve({
        close: () => {
          server.close();
          for (const client of clients) client.destroy();
        },
      });
    });
  });
}

/** Who listens there; undefined where nobody does any more. */
export async function ask(path: string): Promise<Holder | undefined> {
  const socket = connect(path);
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
