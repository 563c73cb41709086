// The state of Services as metrics: few series, unless more are asked for.
import { describe, expect, it } from 'vitest';
import type { ProgrammingReport, UnfinishedService } from '../../../src/proxy/programming-state.ts';
import { serviceStates } from '../../../src/proxy/service-state-rows.ts';
import type { ServiceName } from '../../../src/services/service-port.ts';
import { ProxyMetrics } from '../../../src/telemetry/metrics.ts';

const nowMs = 100_000;
const name = (text: string): ServiceName => `default/${text}` as ServiceName;

function unfinished(
  service: string,
  state: UnfinishedService['state'],
  cause: UnfinishedService['cause'],
  sinceMs = 0,
): UnfinishedService {
  return { service: name(service), state, cause, reason: 'words', sinceMs };
}

function family(report: Partial<ProgrammingReport>, services: readonly string[] = []) {
  const base: ProgrammingReport = {
    family: 'ipv4',
    programmed: services.length - (report.unfinished?.length ?? 0),
    unfinished: [],
    skipped: new Map(),
    writtenAtMs: undefined,
    failure: undefined,
  };
  let reports = 0;
  return {
    programming: {
      report: () => {
        reports++;
        return { ...base, ...report };
      },
      services: () => new Set(services.map(name)),
    },
    asked: () => reports,
  };
}

async function series(families: readonly ReturnType<typeof family>[], most: number, of: string) {
  const metrics = new ProxyMetrics({ version: 'test' });
  metrics.collectServices(serviceStates(families, most, () => nowMs));
  const text = await metrics.registry.metrics();
  return text.split('\n').filter((line) => line.startsWith(`${of}{`));
}

const troubled = () =>
  family(
    {
      unfinished: [
        unfinished('d', 'failed', 'refused', 40_000),
        unfinished('b', 'pending', 'changed', 99_000),
        unfinished('c', 'pending', 'changed', 97_500),
      ],
      skipped: new Map([[name('headless'), 'headless']]),
    },
    ['a', 'b', 'c', 'd', 'e'],
  );

describe('the state of Services', () => {
  it('is a number for each state and reason, with 0 for those that nobody is in', async () => {
    expect(await series([troubled()], 0, 'switchyard_services')).toEqual(
      [
        ['programmed', '', 2],
        ['partial', 'address-refused', 0],
        ['partial', 'address-stuck', 0],
        ['partial', 'endpoint-left-out', 0],
        ['pending', 'first-list', 0],
        ['pending', 'changed', 2],
        ['pending', 'sync-failed', 0],
        ['failed', 'refused', 1],
        ['not-applicable', '', 1],
      ].map(
        ([state, reason, count]) =>
          `switchyard_services{ip_family="IPv4",state="${state}",reason="${reason}"} ${count}`,
      ),
    );
  });

  it('says for how long the first one is in it', async () => {
    const lines = await series([troubled()], 0, 'switchyard_services_oldest_seconds');
    expect(lines.filter((line) => !line.endsWith(' 0'))).toEqual([
      'switchyard_services_oldest_seconds{ip_family="IPv4",state="pending",reason="changed"} 2.5',
      'switchyard_services_oldest_seconds{ip_family="IPv4",state="failed",reason="refused"} 60',
    ]);
  });

  it('has no series a Service unless they are asked for', async () => {
    expect(await series([troubled()], 0, 'switchyard_service_state')).toEqual([]);
  });

  it('has so many a family as are asked for, the worst first, and says how many are left out', async () => {
    const other = family({ family: 'ipv6' }, ['a']);
    expect(await series([troubled(), other], 4, 'switchyard_service_state')).toEqual([
      'switchyard_service_state{ip_family="IPv4",namespace="default",service="d",state="failed",reason="refused"} 1',
      'switchyard_service_state{ip_family="IPv4",namespace="default",service="b",state="pending",reason="changed"} 1',
      'switchyard_service_state{ip_family="IPv4",namespace="default",service="c",state="pending",reason="changed"} 1',
      'switchyard_service_state{ip_family="IPv4",namespace="default",service="a",state="programmed",reason=""} 1',
      'switchyard_service_state{ip_family="IPv6",namespace="default",service="a",state="programmed",reason=""} 1',
    ]);
    expect(await series([troubled(), other], 4, 'switchyard_service_state_left_out')).toEqual([
      'switchyard_service_state_left_out{ip_family="IPv4"} 1',
      'switchyard_service_state_left_out{ip_family="IPv6"} 0',
    ]);
  });

  it('is read once for all metrics of one answer', async () => {
    const one = troubled();
    await series([one], 4, 'switchyard_services');
    expect(one.asked()).toBe(1);
  });
});
