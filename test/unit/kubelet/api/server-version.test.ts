// What a real answer to GET /version comes to, over a real connection: an API server that has just begun refuses everybody.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../../../src/clock.ts';
import { loadApiClient } from '../../../../src/informer/api-client.ts';
import { serverVersion } from '../../../../src/kubelet/api/server-version.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';

const over: (() => unknown)[] = [];

afterEach(async () => {
  for (const end of over.splice(0).toReversed()) await end();
});

async function versionOf(listener: RequestListener): Promise<string | undefined> {
  const server: Server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  over.push(() => server.close());
  const client = await loadApiClient({
    log: silentLog,
    clock: systemClock,
    env: {},
    master: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    runProgram: async () => Promise.reject(new Error('not run')),
  });
  over.push(async () => client.close());
  return serverVersion(client, systemClock, new AbortController().signal);
}

test('a version is told', async () => {
  const version = versionOf((_, response) => response.end('{"gitVersion":"v1.37.2"}'));
  expect(await version).toBe('v1.37.2');
});

test('a refusal rejects, and whatever is left of its body ends no process', async () => {
  const stray: unknown[] = [];
  const note = (error: unknown): void => void stray.push(error);
  process.on('uncaughtException', note);
  over.push(() => process.off('uncaughtException', note));
  const refused = versionOf((_, response) => {
    response.statusCode = 403;
    response.write('{"kind":"Status",');
    setImmediate(() => response.end('"reason":"Forbidden"}'));
  });
  await expect(refused).rejects.toThrow('the API server does not say its version: 403');
  await new Promise((resolve) => setImmediate(resolve));
  expect(stray).toEqual([]);
});
