import { describe, expect, it } from 'vitest';
import { tellWaiting } from '../../../src/proxy/first-lists.ts';
import { ProxyHealth } from '../../../src/proxy/health.ts';
import { NodeState } from '../../../src/proxy/node-state.ts';
import { NodeWatch } from '../../../src/proxy/node-watch.ts';
import { SyncMeter } from '../../../src/proxy/sync-meter.ts';
import { SyncRunner } from '../../../src/proxy/sync-runner.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { ProxyMetrics } from '../../../src/telemetry/metrics.ts';
import { bareNode } from './bare-node.ts';
import { VirtualClock } from './virtual-clock.ts';

const dayMs = 86_400_000;
const never = new AbortController().signal;

/** A sync that is asked for by the second, and how often it ran within ten of them. */
async function syncs(stepMs: number): Promise<number> {
  const clock = new VirtualClock();
  const stop = new AbortController();
  let count = 0;
  const runner = new SyncRunner({
    sync: async () => void count++,
    clock,
    log: silentLog,
    minIntervalMs: 1000,
    retryIntervalMs: 30_000,
    maxIntervalMs: 3_600_000,
  });
  const done = runner.run(stop.signal);
  runner.request();
  await clock.advance(500);
  clock.setDate(stepMs);
  for (let second = 0; second < 10; second++) {
    runner.request();
    await clock.advance(1000);
  }
  stop.abort();
  await done;
  return count;
}

async function healthAfter(stepMs: number): Promise<readonly boolean[]> {
  const clock = new VirtualClock();
  const health = new ProxyHealth({ clock, timeoutMs: 60_000, nodeExpected: false });
  health.updated('ipv4');
  health.queued('ipv4');
  clock.setDate(stepMs);
  await clock.advance(59_999);
  const before = health.report().healthy;
  await clock.advance(1);
  return [before, health.report().healthy];
}

/** How often the interfaces were read when asked for at 0, 1 and 3 s. */
async function readings(stepMs: number): Promise<number> {
  const { clock, state, count } = nodeState();
  await state.refresh(never);
  clock.setDate(stepMs);
  for (const ms of [1000, 2000]) {
    await clock.advance(ms);
    await state.refresh(never);
  }
  return count();
}

function nodeState() {
  const clock = new VirtualClock();
  let read = 0;
  const state = new NodeState({
    nodeName: 'node-a',
    settings: {} as never,
    bindAddress: '0.0.0.0' as never,
    readInterfaces: async () => (read++, []),
    rulesNameAddresses: false,
    addressesFromInterfaces: true,
    interfacesMaxAgeMs: 3000,
    clock,
    log: silentLog,
  });
  return { clock, state, count: () => read };
}

/** Whether a Node without addresses is waited for after 29.999 s and after 30. */
async function waitsForNode(stepMs: number): Promise<readonly boolean[]> {
  const { clock, state } = nodeState();
  const health = new ProxyHealth({ clock, timeoutMs: 1, nodeExpected: true });
  const options = { nodeName: 'node-a', state, health, clock, log: silentLog };
  const watch = new NodeWatch({
    ...options,
    needsPodCidrs: false,
    expected: true,
    onChange: () => {},
  });
  let waiting = true;
  watch.handler.synced?.();
  const ready = watch.ready(never).then(() => (waiting = false));
  await clock.advance(1000);
  clock.setDate(stepMs);
  watch.handler.added?.(bareNode); // a look at the clock
  await clock.advance(28_999);
  const before = waiting;
  await clock.advance(1);
  await ready;
  return [before, waiting];
}

async function syncSeconds(stepMs: number): Promise<string | undefined> {
  const clock = new VirtualClock();
  const metrics = new ProxyMetrics({ version: 'test' });
  const done = new SyncMeter({ metrics, clock, family: 'ipv4' }).start();
  clock.setDate(stepMs);
  await clock.advance(2000);
  done('full');
  const text = await metrics.registry.metrics();
  return /duration_seconds_sum\{ip_family="IPv4"\} (\S+)/.exec(text)?.[1];
}

async function secondsWaited(stepMs: number): Promise<unknown> {
  const clock = new VirtualClock();
  const told: unknown[] = [];
  const log = { ...silentLog, warn: (fields: object) => void told.push(fields) };
  const stop = new AbortController();
  const done = tellWaiting([{ name: 'services', synced: false }], { clock, log }, stop.signal);
  clock.setDate(stepMs);
  await clock.advance(10_000);
  stop.abort();
  await done;
  return told;
}

describe.each([
  ['a day back', -dayMs],
  ['a day ahead', dayMs],
])('when the date jumps %s', (_how, stepMs) => {
  it('syncs go on at their pace', async () => {
    expect(await syncs(stepMs)).toBe(11);
  });

  it('a change that waits turns the proxy unhealthy when its time is up', async () => {
    expect(await healthAfter(stepMs)).toEqual([true, false]);
  });

  it('interfaces are read again when they are old', async () => {
    expect(await readings(stepMs)).toBe(2);
  });

  it('a Node without addresses is waited for as long as ever', async () => {
    expect(await waitsForNode(stepMs)).toEqual([true, false]);
  });

  it('the time of a sync is what it took', async () => {
    expect(await syncSeconds(stepMs)).toBe('2');
  });

  it('how long a list is waited for is said as it is', async () => {
    expect(await secondsWaited(stepMs)).toEqual([{ missing: ['services'], seconds: 10 }]);
  });
});

it('a change dated ahead of our own date took no time, not less', async () => {
  const metrics = new ProxyMetrics({ version: 'test' });
  const meter = new SyncMeter({ metrics, clock: new VirtualClock(), family: 'ipv4' });
  meter.programmed([dayMs]);
  const text = await metrics.registry.metrics();
  expect(text).toContain('network_programming_duration_seconds_sum{ip_family="IPv4"} 0\n');
});
