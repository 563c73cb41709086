import { runProgram } from '../../../../src/host/run-program.ts';
import { loadApiClient } from '../../../../src/informer/api-client.ts';
import type { ApiClient, ApiWriter } from '../../../../src/informer/api-client.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import type { Log } from '../../../../src/telemetry/log.ts';
import { startFakeApiServer } from '../../../support/fake-api-server.ts';
import type { FakeApiServer, RawObject } from '../../../support/fake-api-server.ts';
import { settle, VirtualClock } from '../../proxy/virtual-clock.ts';

/** A fake API server, a client of it, and time that stands still; what is written to the log at which level. */
export interface ApiRig {
  readonly server: FakeApiServer;
  readonly client: ApiClient & ApiWriter;
  readonly clock: VirtualClock;
  readonly log: Log;
  readonly lines: string[];
  /** Runs something until {@link stop}. */
  start(run: (signal: AbortSignal) => Promise<void>): void;
  stop(): Promise<void>;
}

export async function apiRig(): Promise<ApiRig> {
  const server = await startFakeApiServer();
  const clock = new VirtualClock();
  const lines: string[] = [];
  const write =
    (level: string) =>
    (_fields: object, text: string): void =>
      void lines.push(`${level} ${text}`);
  const log = { ...silentLog, warn: write('warn'), error: write('error'), info: write('info') };
  const client = await loadApiClient({ master: server.url, log, clock, env: {}, runProgram });
  const stop = new AbortController();
  const running: Promise<void>[] = [];
  return {
    server,
    client,
    clock,
    log,
    lines,
    start: (run) => void running.push(run(stop.signal)),
    stop: async () => {
      stop.abort();
      await Promise.all(running);
      await client.close();
      await server.close();
    },
  };
}

/** Real sockets answer while the clock stands still. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = Date.now() + 5000;
  while (!condition()) {
    if (Date.now() > endMs) throw new Error(`waited 5 s until ${what}`);
    await settle();
  }
}

/** What is said of an object in one of its fields. */
export function field(object: RawObject | undefined, ...path: readonly string[]): unknown {
  let value: unknown = object;
  for (const name of path) value = (value as Record<string, unknown> | undefined)?.[name];
  return value;
}
