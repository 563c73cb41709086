import { afterEach, describe, expect, it } from 'vitest';
import { ServiceHealth } from '../../../src/proxy/service-health.ts';
import type { ServiceHealthTarget } from '../../../src/proxy/service-health.ts';
import type { ServiceName } from '../../../src/services/service-port.ts';
import { listen } from '../../../src/telemetry/http-server.ts';
import type { Listening } from '../../../src/telemetry/http-server.ts';
import type { Log } from '../../../src/telemetry/log.ts';
import { silentLog } from '../../../src/telemetry/log.ts';

const loopback = ['127.0.0.1'];
const web = 'default/web' as ServiceName;
const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

function open(state: { healthy: boolean }, log: Log = silentLog): ServiceHealth {
  const servers = new ServiceHealth({ proxyHealthy: () => state.healthy, log });
  closing.push(async () => servers.close());
  return servers;
}

/** A port nobody uses now. */
async function freePort(): Promise<number> {
  const listening = await listen({ address: '127.0.0.1', port: 0 }, () => {});
  await listening.close();
  return listening.port;
}

async function occupy(port: number): Promise<Listening> {
  const taken = await listen({ address: '127.0.0.1', port }, (_, response) => {
    response.end('somebody else');
  });
  return taken;
}

const target = (port: number, localEndpoints: number): Map<ServiceName, ServiceHealthTarget> =>
  new Map([[web, { port, localEndpoints }]]);

describe('the servers of healthCheckNodePorts', () => {
  it('answer any path with the count of local endpoints', async () => {
    const port = await freePort();
    await open({ healthy: true }).sync(target(port, 2), loopback);
    const answer = await fetch(`http://127.0.0.1:${port}/anything`, { method: 'POST' });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-load-balancing-endpoint-weight')).toBe('2');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(await answer.text()).toBe(
      '{\n\t"service": {\n\t\t"namespace": "default",\n\t\t"name": "web"\n\t},\n\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}\n',
    );
  });

  it('answer 503 without local endpoints', async () => {
    const port = await freePort();
    const servers = open({ healthy: true });
    await servers.sync(target(port, 2), loopback);
    await servers.sync(target(port, 0), loopback);
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(503);
  });

  it('answer 503 with the real count while the proxy is unhealthy', async () => {
    const port = await freePort();
    const state = { healthy: true };
    await open(state).sync(target(port, 3), loopback);
    state.healthy = false;
    const answer = await fetch(`http://127.0.0.1:${port}/`);
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ localEndpoints: 3, serviceProxyHealthy: false });
  });

  it('move with their port, and end with their service', async () => {
    const [before, after] = [await freePort(), await freePort()];
    const servers = open({ healthy: true });
    await servers.sync(target(before, 1), loopback);
    await servers.sync(target(after, 1), loopback);
    await expect(fetch(`http://127.0.0.1:${before}/`)).rejects.toThrow('fetch failed');
    expect((await fetch(`http://127.0.0.1:${after}/`)).status).toBe(200);
    await servers.sync(new Map(), loopback);
    await expect(fetch(`http://127.0.0.1:${after}/`)).rejects.toThrow('fetch failed');
  });

  it('try a taken port again with the next sync, and tell whose it is', async () => {
    const port = await freePort();
    const taken = await occupy(port);
    const errors: string[] = [];
    const log = { ...silentLog, error: (_: object, message: string) => void errors.push(message) };
    const servers = open({ healthy: true }, log);
    await servers.sync(target(port, 1), loopback);
    expect(errors[0]).toContain(`default/web: cannot listen on its healthCheckNodePort ${port}`);
    await taken.close();
    await servers.sync(target(port, 1), loopback);
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
  });

  it('bind one port in both families', async () => {
    const port = await freePort();
    const [v4, v6] = [open({ healthy: true }), open({ healthy: true })];
    await v4.sync(target(port, 1), ['0.0.0.0']);
    await v6.sync(target(port, 2), ['::']);
    const answers = await Promise.all(
      ['127.0.0.1', '[::1]'].map(async (host) => fetch(`http://${host}:${port}/`)),
    );
    expect(answers.map((each) => each.headers.get('x-load-balancing-endpoint-weight'))).toEqual([
      '1',
      '2',
    ]);
  });
});
