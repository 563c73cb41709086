// The servers of the agent itself: a port that is taken is said on the Node, and may be the end.
import { afterEach, describe, expect, it } from 'vitest';
import type { ProxyConfig } from '../../../src/config/proxy-config.ts';
import type { Address } from '../../../src/ip/address.ts';
import { answersOf } from '../../../src/proxy/agent-servers.ts';
import { ProcessServers } from '../../../src/proxy/process-servers.ts';
import { ProxyHealth } from '../../../src/proxy/health.ts';
import { openEvents } from '../../../src/proxy/service-events.ts';
import { listen } from '../../../src/telemetry/http-server.ts';
import type { EventSink, WireEvent } from '../../../src/telemetry/events.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { ProxyMetrics } from '../../../src/telemetry/metrics.ts';
import { VirtualClock } from './virtual-clock.ts';

const closing: (() => Promise<unknown> | void)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function freePort(): Promise<number> {
  const listening = await listen({ address: '127.0.0.1', port: 0 }, () => {});
  await listening.close();
  return listening.port;
}

async function rig(bindAddressHardFail: boolean, profiling = false) {
  const clock = new VirtualClock();
  const written: WireEvent[] = [];
  const sink: EventSink = {
    create: async (event) => {
      written.push(event);
      return { kind: 'written' };
    },
    patchSeries: async () => ({ kind: 'written' }),
  };
  const stop = new AbortController();
  closing.push(() => stop.abort());
  const events = openEvents(sink, { nodeName: 'node-a', clock, log: silentLog }, stop.signal);
  const address = '127.0.0.1' as Address;
  const config = {
    mode: 'iptables',
    healthzBind: { address, port: await freePort() },
    metricsBind: { address, port: await freePort() },
    bindAddressHardFail,
    profiling,
  } as unknown as ProxyConfig;
  const start = async () => {
    const servers = new ProcessServers({ clock, log: silentLog });
    closing.push(async () => servers.close());
    servers.answerWith(
      answersOf({
        config,
        health: new ProxyHealth({ clock, timeoutMs: 60_000, nodeExpected: false }),
        metrics: new ProxyMetrics({ version: 'test' }),
        clock,
        version: '1.2.3',
        log: silentLog,
        events,
        effectiveConfig: () => ({ mode: 'iptables' }),
        verbosity: { get: () => 0, set: () => {} },
      }),
    );
    await servers.listenAt(config);
  };
  const url = (which: 'healthz' | 'metrics'): string =>
    `http://127.0.0.1:${config[`${which}Bind`]?.port ?? 0}`;
  return { clock, config, written, start, url };
}

async function occupy(port: number | undefined): Promise<() => Promise<void>> {
  const taken = await listen({ address: '127.0.0.1', port: port ?? 0 }, () => {});
  closing.push(async () => taken.close());
  return async () => taken.close();
}

describe('the servers of the agent', () => {
  it('answer health, metrics and the configuration; profiles only where they are asked for', async () => {
    for (const profiling of [false, true]) {
      const { start, url } = await rig(false, profiling);
      await start();
      const paths = ['/metrics', '/configz', '/debug/flags/v'];
      const answers = await Promise.all(paths.map(async (path) => fetch(url('metrics') + path)));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, profiling ? 200 : 404]);
      expect((await fetch(`${url('healthz')}/livez`)).status).toBe(200);
    }
  });

  it('say on the Node whose port is taken, once in a while, and have it when it is free', async () => {
    const { clock, config, written, start, url } = await rig(false);
    const free = await occupy(config.healthzBind?.port);
    await start();
    for (let i = 0; i < 20; i++) await clock.advance(5000);
    await expect.poll(() => written.length).toBe(1);
    expect(written[0]).toMatchObject({
      reason: 'FailedToStartProxierHealthcheck',
      regarding: { kind: 'Node', name: 'node-a' },
      type: 'Warning',
      note: expect.stringContaining('EADDRINUSE') as string,
    });
    expect((await fetch(`${url('metrics')}/healthz`)).status).toBe(200);
    await free();
    await clock.advance(5000);
    await expect.poll(async () => (await fetch(`${url('healthz')}/livez`)).status).toBe(200);
  });

  it('where that is to be the end, are not started, and the Event is written first', async () => {
    const { clock, config, written, start, url } = await rig(true);
    await occupy(config.metricsBind?.port);
    const started = start().catch((error: unknown) => String(error));
    for (let i = 0; i < 5; i++) await clock.advance(10);
    expect(await started).toContain('metrics server: cannot listen on 127.0.0.1');
    expect(written.map(({ reason }) => reason)).toEqual(['FailedToStartMetricServer']);
    await expect(fetch(`${url('healthz')}/livez`)).rejects.toThrow('fetch failed');
  });
});
