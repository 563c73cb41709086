// Metrics of Node and of the process, for a process that is to sleep.
import perfHooks from 'node:perf_hooks';
import { Registry } from 'prom-client';
import { afterEach, expect, it, vi } from 'vitest';
import { collectNodeMetrics } from '../../../src/telemetry/node-metrics.ts';

afterEach(() => void vi.restoreAllMocks());

it('has no timer run for them', async () => {
  const monitor = vi.spyOn(perfHooks, 'monitorEventLoopDelay');
  const registry = new Registry();
  collectNodeMetrics(registry);
  expect(monitor.mock.calls).toEqual([[{ resolution: 86_400_000 }]]);
  const names = (await registry.getMetricsAsJSON()).map(({ name }) => name);
  expect(names.filter((name) => name.startsWith('nodejs_eventloop_'))).toEqual([
    'nodejs_eventloop_lag_seconds',
  ]);
  expect(names).toContain('process_cpu_seconds_total');
});
