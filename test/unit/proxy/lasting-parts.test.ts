// Its one job: what an agent shows of itself goes on when it shows itself anew, as after a live change of its configuration.
import { expect, it } from 'vitest';
import type { AgentView } from '../../../src/proxy/lasting-parts.ts';
import { LastingParts } from '../../../src/proxy/lasting-parts.ts';
import { ProxyHealth } from '../../../src/proxy/health.ts';
import type { ListenerKey, ListenerStats } from '../../../src/relay/relay.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { FakeToolRunner } from '../../support/fake-tool-runner.ts';
import { VirtualClock, settle } from './virtual-clock.ts';

const dialFailures = { refused: 0, timeout: 0, unreachable: 0, reset: 0, files: 0, other: 0 };
const stats = (connections: number): ListenerStats => {
  const rest = { active: 0, bytesIn: 0, bytesOut: 0, retries: 0, refused: 0, evicted: 0 };
  return { connections, dialFailures, ...rest };
};

function relayOf(listeners: Readonly<Record<string, ListenerStats>>) {
  let now = listeners;
  return {
    stats: () => new Map(Object.entries(now) as [ListenerKey, ListenerStats][]),
    is: (next: Readonly<Record<string, ListenerStats>>) => (now = next),
  };
}

async function counted({ metrics }: LastingParts): Promise<string | undefined> {
  await settle(); // the answer before is over
  const text = await metrics.registry.getSingleMetricAsString('switchyard_relay_connections_total');
  return /^switchyard_relay_connections_total\{.*\} (\d+)$/m.exec(text)?.[1];
}

it('counters of a relay do not fall: what listeners that are gone have carried stays', async () => {
  const clock = new VirtualClock();
  const parts = new LastingParts({ version: 'test', clock, log: silentLog });
  const relay = relayOf({ 'a/b/TCP cluster ipv4': stats(5), 'a/b/TCP local ipv4': stats(2) });
  const view = {
    config: { mode: 'userspace', metrics: { serviceStates: 0 }, profiling: false },
    health: new ProxyHealth({ clock, timeoutMs: 60_000, nodeExpected: false }),
    events: undefined,
    pipelines: [],
    relay,
    traffic: undefined,
    tools: new FakeToolRunner(),
    clock,
    log: silentLog,
    version: 'test',
  } as unknown as AgentView;
  parts.show(view);
  expect(await counted(parts)).toBe('7');
  relay.is({ 'a/b/TCP local ipv4': stats(3) });
  expect(await counted(parts)).toBe('8');
  parts.show({ ...view });
  expect(await counted(parts)).toBe('8');
  const next = relayOf({});
  parts.show({ ...view, relay: next });
  expect(await counted(parts)).toBe('8');
  next.is({ 'a/b/TCP local ipv4': stats(1) });
  parts.settled();
  expect(await counted(parts)).toBe('9');
});
