import { describe, expect, it } from 'vitest';

import type { Clock } from '../../../src/clock.ts';
import { parseEntries } from '../../../src/host/conntrack.ts';
import type { ConntrackEntry } from '../../../src/host/conntrack.ts';
import { ConntrackReconciler, staleEntries } from '../../../src/proxy/conntrack-reconciler.ts';
import type { ConntrackReport } from '../../../src/proxy/conntrack-reconciler.ts';
import type { Endpoint, EndpointChoice, ServicePort } from '../../../src/services/service-port.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { FakeToolRunner } from '../../support/fake-tool-runner.ts';
import { address, endpoint, nodeContext, servicePort } from '../../support/service-ports.ts';

const node = nodeContext();
const a = endpoint('10.1.0.1:5353');

/** As the kernel has it: `to` is what the client asked, `from` who is expected to answer. */
function line(to: string, from: string, protocol = 'udp'): string {
  const [dst, dport] = to.split(' ');
  const [src, sport] = from.split(' ');
  return `${protocol} 17 29 src=10.9.0.1 dst=${dst} sport=4000 dport=${dport} src=${src} dst=10.9.0.1 sport=${sport} dport=4000 use=1`;
}

function entry(to: string, from: string): ConntrackEntry {
  const [parsed] = parseEntries(line(to, from));
  if (parsed === undefined) throw new Error(`no entry: ${to}, ${from}`);
  return parsed;
}

function choice(...cluster: readonly Endpoint[]): EndpointChoice {
  return {
    cluster,
    local: undefined,
    localReady: [],
    hasAny: cluster.length > 0,
    topology: 'none',
    topologyReason: '',
    skipped: [],
  };
}

function dns(overrides: Partial<ServicePort> = {}): ServicePort {
  return {
    ...servicePort({ protocol: 'UDP' }),
    port: 53,
    nodePort: 30_053,
    externalIPs: [address('192.0.2.1')],
    loadBalancerIPs: [address('192.0.2.2')],
    endpoints: choice(a),
    ...overrides,
  };
}

const isStale = (flow: ConntrackEntry, port: ServicePort): boolean =>
  staleEntries([flow], [port], node).length === 1;

describe('a UDP entry is stale', () => {
  it.each([
    ['to a removed endpoint', '10.96.0.10 53', '10.1.0.2 5353'],
    ['to an old port of an endpoint', '10.96.0.10 53', '10.1.0.1 53'],
    ['made before there were endpoints', '10.96.0.10 53', '10.96.0.10 53'],
    ['by an external address', '192.0.2.1 53', '10.1.0.2 5353'],
    ['by a load balancer address', '192.0.2.2 53', '10.1.0.2 5353'],
    ['by the node port of an address of this node', '192.168.0.2 30053', '10.1.0.2 5353'],
    ['by the node port of another address of this node', '10.244.1.1 30053', '10.1.0.2 5353'],
  ])('%s', (_what, to, from) => {
    expect(isStale(entry(to, from), dns())).toBe(true);
  });
});

describe('a UDP entry stays', () => {
  it.each([
    ['to a serving endpoint', '10.96.0.10 53', '10.1.0.1 5353'],
    ['to a port of the address that no service has', '10.96.0.10 54', '10.1.0.2 5353'],
    ['to the node port of another node', '192.168.0.3 30053', '192.168.0.3 30053'],
    ['to an address of the node that is no node port', '192.168.0.2 53', '192.168.0.2 53'],
    ['of no service', '8.8.8.8 53', '8.8.8.8 53'],
  ])('%s', (_what, to, from) => {
    expect(isStale(entry(to, from), dns())).toBe(false);
  });

  const gone = entry('10.96.0.10 53', '10.1.0.2 5353');
  const b = endpoint('10.1.0.2:5353', { ready: false, terminating: true });
  it.each([
    ['while its terminating endpoint serves', dns({ endpoints: choice(a, b) })],
    [
      'while it serves, though no policy chooses it',
      dns({ endpoints: { ...choice(a), skipped: [{ endpoint: b, reason: 'other zone' }] } }),
    ],
    ['where the service has no endpoint at all', dns({ endpoints: choice() })],
    ['where no endpoint serves', dns({ endpoints: choice({ ...a, serving: false }) })],
    ['where the service is TCP', dns({ protocol: 'TCP' })],
  ])('%s', (_what, port) => {
    expect(isStale(gone, port)).toBe(false);
  });

  it('on an address where node ports do not answer', () => {
    const narrow = {
      ...node,
      nodePortAddresses: { kind: 'list', addresses: [address('192.168.0.2')] },
    } as const;
    const entries = [
      entry('10.244.1.1 30053', '10.244.1.1 30053'),
      entry('192.168.0.2 30053', '10.1.0.2 1'),
    ];
    expect(staleEntries(entries, [dns()], narrow)).toEqual(entries.slice(1));
  });
});

describe('reconciling', () => {
  const clock: Clock = { now: () => 0, monotonic: () => 0, sleep: () => Promise.resolve() };
  const { signal } = new AbortController();
  const dump = [
    line('10.96.0.10 53', '10.1.0.1 5353'),
    line('10.96.0.10 53', '10.1.0.2 5353'),
    line('10.96.0.10 53', '10.1.0.3 5353'),
    line('10.96.0.10 53', '10.1.0.3 5353'),
  ].join('\n');
  const deletedOne = {
    stderr: 'conntrack v1.4.7 (conntrack-tools): 1 flow entries have been deleted.',
  };

  it('dumps once, deletes what is stale in one run a path, and tells how many', async () => {
    const reports: ConntrackReport[] = [];
    const tools = new FakeToolRunner(({ args }) =>
      args[0] === '-L' ? { stdout: `${dump}\n` } : deletedOne,
    );
    const onReconciled = (report: ConntrackReport): void => {
      reports.push(report);
    };
    const reconciler = new ConntrackReconciler({
      family: 'ipv4',
      tools,
      clock,
      log: silentLog,
      onReconciled,
    });
    await reconciler.reconcile([dns()], node, signal);
    expect(reports).toEqual([{ entries: 4, deleted: 2, durationMs: 0 }]);
    const deletions = tools.runs.slice(1).map(({ args }) => args);
    expect(deletions.map((args) => args[args.indexOf('--reply-src') + 1])).toEqual([
      '10.1.0.2',
      '10.1.0.3',
    ]);
    for (const args of deletions) {
      expect(args).toEqual(expect.arrayContaining(['--orig-dst', '--orig-port-dst']));
      expect(args).not.toContain('--orig-src');
    }
  });

  it('goes on after an entry that cannot be deleted, and rejects, so that it is tried again', async () => {
    const reports: ConntrackReport[] = [];
    const onReconciled = (report: ConntrackReport): void => void reports.push(report);
    const tools = new FakeToolRunner(({ args }) => {
      if (args[0] === '-L') return { stdout: `${dump}\n` };
      return args.includes('10.1.0.2') ? { exitCode: 1, stderr: 'Operation failed' } : deletedOne;
    });
    const parts = { family: 'ipv4', tools, clock, log: silentLog, onReconciled } as const;
    const reconciler = new ConntrackReconciler(parts);
    await expect(reconciler.reconcile([dns()], node, signal)).rejects.toThrow(
      'conntrack -D of flows to 10.96.0.10 failed: Operation failed',
    );
    expect(reports).toMatchObject([{ deleted: 1 }]);
  });

  it('asks what serves now, not what served when it began to read', async () => {
    const ports = new Map([['dns', dns({ endpoints: choice(a) })]]);
    const tools = new FakeToolRunner(({ args }) => {
      if (args[0] !== '-L') return deletedOne;
      ports.set('dns', dns({ endpoints: choice(a, endpoint('10.1.0.3:5353')) }));
      return { stdout: `${dump}\n` };
    });
    const reconciler = new ConntrackReconciler({ family: 'ipv4', tools, clock, log: silentLog });
    await reconciler.reconcile(ports.values(), node, signal);
    const deleted = tools.runs.slice(1).map(({ args }) => args[args.indexOf('--reply-src') + 1]);
    expect(deleted).toEqual(['10.1.0.2']);
  });

  it('rejects where the table cannot be read', async () => {
    const tools = new FakeToolRunner(() => ({ exitCode: 1, stderr: 'Operation not permitted' }));
    const reconciler = new ConntrackReconciler({ family: 'ipv4', tools, clock, log: silentLog });
    await expect(reconciler.reconcile([dns()], node, signal)).rejects.toThrow(/not permitted/);
  });

  it('where others answer than the endpoints, goes by them, and runs no tool while they stay', async () => {
    const entries = [
      line('10.96.0.10 53', '192.168.0.2 20001'),
      line('10.96.0.10 53', '10.1.0.1 5353'),
    ];
    const tools = new FakeToolRunner(({ args }) =>
      args.includes('-L') ? { stdout: `${entries.join('\n')}\n` } : undefined,
    );
    let port = 20_001;
    const reconciler = new ConntrackReconciler({
      family: 'ipv4',
      answering: () => [`192.168.0.2:${port}`],
      tools,
      clock,
      log: silentLog,
    });
    const deleted = async (services = [dns()]) => {
      const before = tools.runs.length;
      await reconciler.reconcile(services, node, signal);
      return tools.runs.slice(before).map(({ args }) => args.join(' '));
    };
    const [, deletion = '', ...others] = await deleted();
    expect(deletion).toContain('10.1.0.1');
    expect(others).toEqual([]);
    expect(await deleted([dns({ endpoints: choice(endpoint('10.1.0.9:5353')) })])).toEqual([]);
    port = 20_002;
    expect(await deleted()).toHaveLength(3);
    expect(await deleted()).toEqual([]);
    reconciler.forget();
    expect(await deleted()).not.toEqual([]);
  });
});
