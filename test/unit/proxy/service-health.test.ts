import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import type { FailedHealthPort } from '../../../src/proxy/service-events.ts';
import { healthTargets, ServiceHealth } from '../../../src/proxy/service-health.ts';
import type {
  ServiceHealthOptions,
  ServiceHealthTarget,
} from '../../../src/proxy/service-health.ts';
import type { ServiceName } from '../../../src/services/service-port.ts';
import { listen } from '../../../src/telemetry/http-server.ts';
import type { Listening } from '../../../src/telemetry/http-server.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import {
  draining,
  ingress,
  rawEndpoint,
  rawService,
  rawSlice,
  Scene,
} from '../../support/scene.ts';
import { VirtualClock } from './virtual-clock.ts';

const loopback = ['127.0.0.1'];
const web = 'default/web' as ServiceName;
const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

function open(
  state: { healthy: boolean },
  options: Partial<ServiceHealthOptions> = {},
): ServiceHealth {
  const servers = new ServiceHealth({
    proxyHealthy: () => state.healthy,
    clock: systemClock,
    log: silentLog,
    ...options,
  });
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
  new Map([[web, { uid: 'u', port, localEndpoints }]]);

const lb = { type: 'LoadBalancer', externalTrafficPolicy: 'Local', healthCheckNodePort: 32_000 };

const answered = ({ ports, graph }: Scene) =>
  Array.from(healthTargets(ports, graph), ([service, { port, localEndpoints }]) => [
    service,
    port,
    localEndpoints,
  ]);

const aged = (name: string, clusterIP: string, creationTimestamp: string) =>
  rawService({ ...lb, clusterIP }, { metadata: { name, creationTimestamp } });

describe('what the health checks of balancers are answered with', () => {
  it.each([
    ['no address yet', {}],
    ['a host name', ingress({ hostname: 'lb.example' })],
    ['an address of mode Proxy', ingress({ ip: '203.0.113.9', ipMode: 'Proxy' })],
    ['an address of mode VIP', ingress({ ip: '203.0.113.9', ipMode: 'VIP' })],
  ])('is the count of ready local addresses, with %s of the balancer', (_, status) => {
    const ports = [
      { name: 'http', port: 80 },
      { name: 'https', port: 443 },
    ];
    const scene = new Scene(
      [rawService({ ...lb, ports }, status)],
      [
        rawSlice(
          [
            rawEndpoint('here', '10.244.1.5'),
            rawEndpoint('here', '10.244.1.6', draining),
            rawEndpoint('here', '10.244.1.7', { ready: false }),
            rawEndpoint('elsewhere', '10.244.2.5'),
          ],
          { ports },
        ),
      ],
    );
    expect(answered(scene)).toEqual([['ns1/web', 32_000, 1]]);
  });

  it('is that of the Service that holds the port', () => {
    const scene = new Scene([
      aged('a-new', '10.96.0.1', '2024-01-01T00:00:00Z'),
      aged('z-old', '10.96.0.2', '2020-01-01T00:00:00Z'),
    ]);
    expect(answered(scene)).toEqual([['ns1/z-old', 32_000, 0]]);
  });
});

describe('the servers of healthCheckNodePorts', () => {
  it('answer any path with the count of local endpoints', async () => {
    const port = await freePort();
    await open({ healthy: true }).sync(target(port, 2), loopback);
    const answer = await fetch(`http://127.0.0.1:${port}/anything`, { method: 'POST' });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('x-load-balancing-endpoint-weight')).toBe('2');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(await answer.text()).toBe(
      '{\n\t"service": {\n\t\t"namespace": "default",\n\t\t"name": "web"\n\t},\n\t"localEndpoints": 2,\n\t"serviceProxyHealthy": true\n}',
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

  it('try a taken port again with each sync, and tell once whose it is', async () => {
    const port = await freePort();
    const taken = await occupy(port);
    const errors: string[] = [];
    const log = { ...silentLog, error: (_: object, message: string) => void errors.push(message) };
    const failed: FailedHealthPort[] = [];
    const servers = open({ healthy: true }, { log, onFailed: (each) => void failed.push(each) });
    await servers.sync(target(port, 1), loopback);
    await servers.sync(target(port, 1), loopback);
    expect(errors).toEqual([
      expect.stringContaining(`default/web: cannot listen on its healthCheckNodePort ${port}`),
    ]);
    const reason = expect.stringContaining('EADDRINUSE') as string;
    expect(failed).toEqual([{ service: web, uid: 'u', port, reason }]);
    await taken.close();
    await servers.sync(target(port, 1), loopback);
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
  });

  it('have a port that was taken soon after it is free, without any sync', async () => {
    const port = await freePort();
    const taken = await occupy(port);
    const clock = new VirtualClock();
    const counts: string[] = [];
    const servers = open(
      { healthy: true },
      { clock, onChanged: (now) => void counts.push(`${now.listening} ${now.failed}`) },
    );
    await servers.sync(target(port, 1), loopback);
    await clock.advance(5000);
    await expect.poll(() => counts).toEqual(['0 1', '0 1']);
    await taken.close();
    await clock.advance(5000);
    await expect.poll(() => counts).toEqual(['0 1', '0 1', '1 0']);
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(200);
    await clock.advance(60_000);
    expect(counts).toHaveLength(3);
  });

  it('give an address up that is no longer theirs, be it taken or not', async () => {
    const port = await freePort();
    const taken = await occupy(port);
    const counts: string[] = [];
    const servers = open(
      { healthy: true },
      { onChanged: (now) => void counts.push(`${now.listening} ${now.failed}`) },
    );
    await servers.sync(target(port, 1), ['127.0.0.1', '127.0.0.2']);
    await servers.sync(target(port, 1), ['127.0.0.2']);
    await servers.sync(target(port, 1), ['127.0.0.3']);
    await taken.close();
    expect(counts).toEqual(['1 1', '1 0', '1 0']);
    expect((await fetch(`http://127.0.0.3:${port}/`)).status).toBe(200);
    await expect(fetch(`http://127.0.0.2:${port}/`)).rejects.toThrow('fetch failed');
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
