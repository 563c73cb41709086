import type { Server } from 'node:http';
import type { Clock } from '../../clock.ts';
import { serveAdmin } from '../../host/admin-server.ts';
import type { Log } from '../../telemetry/log.ts';
import { adminHandler } from './handler.ts';
import type { AdminView } from './handler.ts';

export interface AdminEndpointOptions {
  readonly clock: Clock;
  readonly log: Log;
}

/** Where the process is asked: it outlasts the agent that answers. */
export class AdminEndpoint {
  readonly #options: AdminEndpointOptions;
  readonly #stop = new AbortController();
  #view: AdminView | undefined;
  #running: Promise<void> | undefined;

  constructor(options: AdminEndpointOptions) {
    this.#options = options;
  }

  /** Who answers from now on. */
  answerFor(view: AdminView): void {
    this.#view = view;
  }

  /** Begins to answer at a path, where it does not yet; '': nowhere. */
  open(path: string): void {
    if (path === '' || this.#running !== undefined) return;
    const handler: ReturnType<typeof adminHandler> = (request, response) => {
      if (this.#view === undefined) response.destroy();
      else adminHandler(this.#view)(request, response);
    };
    const attach = (server: Server): void => void server.on('request', handler);
    this.#running = serveAdmin({ ...this.#options, path, attach }, this.#stop.signal);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}
