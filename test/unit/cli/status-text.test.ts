import { describe, expect, it } from 'vitest';
import { ageText } from '../../../src/cli/ages.ts';
import { statusText } from '../../../src/cli/status-text.ts';
import { statusOf } from '../../../src/proxy/admin/status.ts';
import type { AgentFacts } from '../../../src/proxy/admin/status.ts';
import type { ProgrammingReport } from '../../../src/proxy/programming-state.ts';
import type { SyncFacts } from '../../../src/proxy/admin/sync-record.ts';
import { nodeContext, byKey, endpoint, servicePort } from '../../support/service-ports.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import type { ServiceName } from '../../../src/services/service-port.ts';

const ports = byKey([servicePort({ endpoints: [endpoint('10.244.1.5:8080')] })]);
const atMs = Date.parse('2026-01-01T00:00:00Z');
const skipped = new Map([
  ['default/a' as ServiceName, 'it is headless'],
  ['default/b' as ServiceName, 'it is headless'],
]);
const programming: ProgrammingReport = {
  family: 'ipv4',
  programmed: 1,
  unfinished: [],
  skipped,
  writtenAtMs: atMs,
  failure: undefined,
};
const written: SyncFacts['written'] = {
  graph: compileAll(ports, nodeContext()),
  changes: {
    servicePorts: ports,
    skipped,
  },
  report: {
    full: true,
    rulesTotal: { nat: 12, filter: 9, mangle: 0 },
    rulesWritten: {},
    unprogrammed: [],
    refusedWrites: { full: 0, partial: 0 },
    failure: undefined,
  },
};
const syncs: SyncFacts = {
  pendingSinceMs: undefined,
  isRunning: false,
  syncs: 3,
  last: { atMs, durationMs: 21, isFull: false },
  lastFullMs: atMs - 60_000,
  written,
};
const facts: AgentFacts = {
  version: '1.2.3',
  pid: 4711,
  config: { mode: 'iptables', source: { kind: 'kubernetes', kubeconfig: '', master: '' } },
  nodeName: 'node-1',
  nodeIPs: ['192.168.0.2'],
  startedMs: atMs - 3_600_000,
  configuration: { sha256: 'a'.repeat(64), sinceMs: atMs, isNewest: true },
  health: {
    healthy: true,
    nodeEligible: true,
    families: new Map([['ipv4', { healthy: true, lastUpdatedMs: atMs }]]),
  },
  server: 'https://10.0.0.1:6443',
  lists: [{ name: 'services', complete: true, objects: 3, trouble: null }],
  starting: undefined,
  families: [{ family: 'ipv4', syncs, programming, draining: undefined }],
  listeners: undefined,
};
const clock = { now: () => atMs + 5000 };
const withFamily = (
  some: Partial<ProgrammingReport>,
  other: Partial<SyncFacts> = {},
): AgentFacts => ({
  ...facts,
  families: [
    {
      family: 'ipv4',
      syncs: { ...syncs, ...other },
      programming: { ...programming, ...some },
      draining: undefined,
    },
  ],
});

/** Job: what the agent knows of itself is told in words, and whether somebody has to act. */
describe('the status of an agent', () => {
  it('reads as this', () => {
    expect(statusText(statusOf(facts, clock))).toBe(`state    healthy
agent    Switchyard 1.2.3, process 4711, up 1 h
mode     iptables
config   aaaaaaaaaaaa…, since 5 s ago
node     node-1 (192.168.0.2)
objects  from https://10.0.0.1:6443 (kubernetes), 3 services

IPv4
  last sync   5 s ago, took 21 ms; last full one 1 m 5 s ago
  programmed  1 of 1 service, 1 port, 1 endpoint, 12 rules in nat, 9 rules in filter
  services without rules here
    default/a, default/b: it is headless
`);
  });

  it.each<[string, AgentFacts, string, string]>([
    [
      'starting while tools are looked at',
      { ...facts, starting: 'the tools and the kernel are being looked at', families: [] },
      'starting',
      'the tools and the kernel are being looked at',
    ],
    [
      'starting while a list is missing',
      {
        ...withFamily({}, { last: undefined, written: undefined }),
        lists: [{ name: 'services', complete: false, objects: 0, trouble: null }],
      },
      'starting',
      'waiting for the first list of services',
    ],
    [
      'unhealthy where a sync fails',
      withFamily({ failure: { reason: 'refused', hint: 'mend it', sinceMs: atMs } }),
      'unhealthy',
      'since 5 s ago: refused',
    ],
    [
      'unhealthy where a service is not programmed',
      withFamily({
        unfinished: [
          {
            service: 'default/web' as ServiceName,
            state: 'failed',
            cause: 'refused',
            reason: 'default/web:http: refused',
            sinceMs: atMs,
          },
        ],
      }),
      'unhealthy',
      '  not programmed\n    default/web (since 5 s ago): default/web:http: refused',
    ],
    [
      'healthy on an earlier configuration, which it says',
      { ...facts, configuration: { sha256: 'b'.repeat(64), sinceMs: atMs, isNewest: false } },
      'healthy',
      'bbbbbbbbbbbb…, since 5 s ago; a newer one is not in force: the log says why',
    ],
    [
      'healthy without a connection, which it names',
      {
        ...facts,
        lists: [
          {
            name: 'services',
            complete: true,
            objects: 3,
            trouble: { reason: 'ECONNREFUSED', since: new Date(atMs).toISOString() },
          },
        ],
      },
      'healthy',
      'nothing new of services for 5 s: ECONNREFUSED',
    ],
  ])('is %s', (_, given, state, words) => {
    const status = statusOf(given, clock);
    expect(status.state).toBe(state);
    expect(statusText(status)).toContain(words);
  });
});

describe('the source of objects', () => {
  it('is told without what its URL carries', () => {
    const url = 'https://agent:geheim@192.0.2.1/objects.yaml?token=geheim';
    const source = { kind: 'url' as const, url } as AgentFacts['config']['source'];
    const status = statusOf({ ...facts, config: { ...facts.config, source } }, clock);
    expect(status.source.where).toBe('https://192.0.2.1/objects.yaml');
    expect(JSON.stringify(status)).not.toContain('geheim');
  });
});

describe('an age', () => {
  it.each([
    [0, '0 s'],
    [59.4, '59 s'],
    [60, '1 m'],
    [3_665, '1 h 1 m'],
    [90_061, '1 d 1 h'],
  ])('of %d seconds is %s', (seconds, text) => {
    expect(ageText(seconds)).toBe(text);
  });
});
