// What metrics are told of requests to the API server.
import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from 'vitest';
import { runProgram } from '../../../src/host/run-program.ts';
import { loadApiClient } from '../../../src/informer/api-client.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { ProxyMetrics } from '../../../src/telemetry/metrics.ts';
import type { RestRequest } from '../../../src/telemetry/rest-client-metrics.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

const closing: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function serve(answer: RequestListener): Promise<Server> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return server;
}

async function rig(answer: RequestListener) {
  const server = await serve(answer);
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const requests: RestRequest[] = [];
  const clock = new VirtualClock();
  const client = await loadApiClient({
    master: `http://${host}`,
    log: silentLog,
    clock,
    env: {},
    runProgram,
    onRequest: (request) => void requests.push(request),
  });
  closing.push(async () => client.close());
  return { host, requests, client, clock, server };
}

const signal = (): AbortSignal => new AbortController().signal;

describe('each request to the API server', () => {
  it('is told with its status, its sizes where they are said, and its time', async () => {
    const { host, requests, client } = await rig((request, response) => {
      if (request.method === 'GET') response.writeHead(403).end();
      else response.writeHead(201, { 'content-length': 2 }).end('{}');
    });
    await text((await client.get('/api/v1/services', {}, signal())).body);
    await text((await client.send('create', '/apis/x', { a: 'é' }, signal())).body);
    expect(requests).toEqual([
      { method: 'GET', host, status: 403, seconds: 0, sentBytes: 0, receivedBytes: undefined },
      { method: 'POST', host, status: 201, seconds: 0, sentBytes: 10, receivedBytes: 2 },
    ]);
  });

  it('is told without a status where nobody answered, and not where it was given up', async () => {
    const { requests, client } = await rig((request) => void request.socket.destroy());
    await expect(client.get('/', {}, signal())).rejects.toThrow('API server');
    const stop = new AbortController();
    const given = client.get('/', {}, stop.signal).catch(() => 'given up');
    stop.abort();
    expect(await given).toBe('given up');
    expect(requests.map(({ status }) => status)).toEqual([undefined]);
  });
});

describe('metrics of requests', () => {
  it('have the names and labels of client-go', async () => {
    const metrics = new ProxyMetrics({ version: 'test' });
    const [host, method, seconds] = ['10.0.0.1:6443', 'GET', 0.05];
    const none = { sentBytes: 0, receivedBytes: undefined };
    metrics.restClient.asked({ method, host, status: 200, seconds, ...none });
    metrics.restClient.asked({ method, host, status: undefined, seconds, ...none });
    const exposed = await metrics.registry.metrics();
    for (const line of [
      'rest_client_requests_total{code="200",host="10.0.0.1:6443",method="GET"} 1',
      'rest_client_requests_total{code="<error>",host="10.0.0.1:6443",method="GET"} 1',
      'rest_client_request_duration_seconds_count{host="10.0.0.1:6443",verb="GET"} 2',
    ])
      expect(exposed).toContain(`\n${line}\n`);
    expect(exposed).not.toContain('rest_client_request_size_bytes_count');
  });
});
