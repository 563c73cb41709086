import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { Clock } from '../clock.ts';
import { SwitchyardError, errorText } from '../error.ts';
import type { Log } from '../telemetry/log.ts';
import { standAt } from './admin-socket.ts';
import type { Standing } from './admin-socket.ts';

export interface AdminServerOptions {
  readonly path: string;
  /** Makes a server answer: it is another one each time the socket has to be made anew. What takes a connection from it ends that when `signal` aborts. */
  readonly attach: (server: Server) => void;
  readonly log: Log;
  readonly clock: Clock;
  /** So many at a time. */
  readonly mostClients?: number;
}

const retryMs = 5000;
/** How often is looked whether the path still leads here. */
const lookMs = 5000;
/** Whoever neither asks nor reads for so long is let go. */
const idleMs = 30_000;

/**
 * Answers HTTP at a unix socket of this user's until `signal` aborts. The agent does not depend on it: where the path cannot be
 * had that is told once, and tried again. Never rejects.
 */
export async function serveAdmin(options: AdminServerOptions, signal: AbortSignal): Promise<void> {
  const { path, clock, log } = options;
  let told: string | undefined;
  while (!signal.aborted) {
    try {
      await standUntil(options, signal);
    } catch (error) {
      const reason = errorText(error);
      const hint = error instanceof SwitchyardError ? error.hint : undefined;
      if (reason !== told) log.warn({ path, hint, retryMs }, `no admin socket: ${reason}`);
      told = reason;
      await clock.sleep(retryMs, signal);
    }
  }
}

async function standUntil(
  { path, attach, log, clock, mostClients = 16 }: AdminServerOptions,
  signal: AbortSignal,
): Promise<void> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000 });
  server.maxConnections = mostClients;
  server.setTimeout(idleMs);
  attach(server);
  const standing = await standAt(server, path);
  // One client could not be let in (no file descriptor was left, say): the next one may be.
  server.on('error', (error) => log.warn({ path }, `admin socket: ${errorText(error)}`));
  log.info({ path }, 'admin socket answers');
  while (!signal.aborted && (await standing.isThere())) await clock.sleep(lookMs, signal);
  await close(server, standing, signal.aborted);
  // Whoever tidied /run has no use for a socket; whoever asks the agent has.
  if (!signal.aborted) log.info({ path }, 'admin socket was removed; it is made again');
}

/** A connection that somebody took from the server may outlast it, but not its end. */
async function close(server: Server, standing: Standing, isOver: boolean): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.once('close', () => resolve());
  });
  await standing.leave();
  server.closeAllConnections();
  if (isOver) await closed;
}
