import { describe, expect, it } from 'vitest';
import type { SyncReport } from '../../../src/backends/sync-report.ts';
import type { Origin } from '../../../src/graph/rule-graph.ts';
import { NodeEvents } from '../../../src/proxy/node-events.ts';
import { Notices, Told } from '../../../src/proxy/notices.ts';
import { ServiceEvents } from '../../../src/proxy/service-events.ts';
import type { ServicePortKey, ServicePortName } from '../../../src/services/service-port.ts';
import type { ObjectEvent } from '../../../src/telemetry/events.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { serviceKind } from '../../../src/services/service-kind.ts';
import { rawService, Scene } from '../../support/scene.ts';
import { address } from '../../support/service-ports.ts';

const report = {
  rulesWritten: {},
  rulesTotal: {},
  full: true,
  unprogrammed: [],
  refusedWrites: { full: 0, partial: 0 },
  failure: undefined,
};
const claiming = (name: string, clusterIP: string, spec: object = {}) =>
  rawService({ clusterIP, externalIPs: ['203.0.113.9'], ...spec }, { metadata: { name } });

function listen(): {
  readonly notices: Notices;
  readonly lines: readonly string[];
  readonly events: readonly ObjectEvent[];
} {
  const lines: string[] = [];
  const events: ObjectEvent[] = [];
  const say = (level: string) => (fields: object, text: string) => {
    const { service, reason } = fields as { service?: string; reason?: string };
    lines.push([level, text, service, reason].filter((part) => part !== undefined).join(': '));
  };
  const levels = { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };
  const told = new ServiceEvents({ tell: (event) => void events.push(event) }, 'node-a');
  const nodeEvents = new NodeEvents({ tell: (event) => void events.push(event) }, 'node-a');
  const log = { ...silentLog, ...levels };
  return {
    notices: new Notices({ log, family: 'ipv4', events: told, nodeEvents }),
    lines,
    events,
  };
}

describe('an operator is told', () => {
  it('of a conflict once, with what decided it, and when it is over', () => {
    const { notices, lines } = listen();
    const both = new Scene([claiming('a', '10.96.0.1'), claiming('b', '10.96.0.2')]).graph;
    for (const graph of [both, both, new Scene([claiming('b', '10.96.0.2')]).graph])
      notices.synced(graph, report, true);
    const conflict =
      'ns1/b:http wants 203.0.113.9/TCP/80, which ns1/a:http holds: the age of both is unknown, and its name comes first';
    expect(lines.filter((line) => !line.startsWith('debug'))).toEqual([
      `warn: ${conflict}`,
      `info: no longer: ${conflict}`,
    ]);
  });

  it('of a rule of others before ours once, and when it has gone', () => {
    const { notices, lines } = listen();
    const rule = '"-A FORWARD -j ACCEPT" in filter';
    for (const rules of [[], [rule], [rule], []]) notices.inFront(rules);
    expect(lines).toEqual([
      `warn: a second writer: ${rule} stands before our rules and takes what they are for; delete it, or put it behind them`,
      'info: no rule of others stands before ours any more',
    ]);
  });

  it('why a Service has no rules, loudly where it is a fault', () => {
    const { notices, lines } = listen();
    const services = [
      claiming('a', '10.96.0.1', { type: 'ExternalName' }),
      claiming('b', '10.96.0'),
      claiming('c', '10.96.0.3'),
    ];
    notices.taken(new Scene(services).changes);
    expect(lines).toEqual([
      'warn: object not used as it stands: clusterIP "10.96.0" is not an IP address',
      'debug: Service without rules here: ns1/a: type ExternalName has no cluster IP to serve',
      'debug: Service without rules here: ns1/b: clusterIP "10.96.0" is not an IP address',
    ]);
  });
});

const refusedAt = (reason: string, ...ports: readonly string[]) =>
  ports.map((port) => {
    const [name, servicePort] = [`ns1/web:${port}`, `ns1/web:${port}/TCP`];
    const origin = { service: 'ns1/web', name, servicePort } as Origin;
    return { address: address('192.0.2.2'), origin, reason };
  });

const annotated = (annotations: Readonly<Record<string, string>>) => {
  const { object } = serviceKind.slim(
    rawService({}, { metadata: { name: 'web', uid: 'u', annotations } }),
  );
  if (object === undefined) throw new Error('no Service');
  return object;
};

describe('an address that is refused', () => {
  const scene = new Scene([
    rawService({ externalIPs: ['192.0.2.2'] }, { metadata: { name: 'web', uid: 'uid-web' } }),
  ]);
  const { graph, changes } = scene;
  const sync = (notices: Notices, refusedAddresses: SyncReport['refusedAddresses']): void => {
    notices.synced(
      graph,
      { ...report, ...(refusedAddresses && { refusedAddresses }) },
      true,
      changes.servicePorts,
    );
  };
  const taken = '192.0.2.2 is an address of Node node-b';

  it('is told once for a Service, in the log and as an Event, until it is over or has another reason', () => {
    const { notices, lines, events } = listen();
    for (let i = 0; i < 3; i++) sync(notices, refusedAt(taken, 'http', 'other'));
    sync(notices, refusedAt('it is not known yet', 'http'));
    sync(notices, undefined);
    sync(notices, refusedAt(taken, 'http'));
    const what = 'ns1/web is not served at 192.0.2.2';
    expect(lines.filter((line) => !line.startsWith('debug'))).toEqual([
      `warn: ${what}: ${taken}: ns1/web`,
      `warn: ${what}: it is not known yet: ns1/web`,
      `info: no longer: ${what}`,
      `warn: ${what}: ${taken}: ns1/web`,
    ]);
    expect(events.map(({ note }) => note.split(';')[0])).toEqual([
      `not served at 192.0.2.2: ${taken}`,
      'not served at 192.0.2.2: it is not known yet',
      `not served at 192.0.2.2: ${taken}`,
    ]);
  });

  it('is an Event on the Service that says what to do, once for the cluster', () => {
    const { notices, events } = listen();
    sync(notices, refusedAt(taken, 'http'));
    expect(events).toEqual([
      {
        regarding: {
          apiVersion: 'v1',
          kind: 'Service',
          namespace: 'ns1',
          name: 'web',
          uid: 'uid-web',
        },
        reason: 'AddressRefused',
        action: 'BindAddress',
        note: `not served at 192.0.2.2: ${taken}; expected an address that is neither loopback nor link-local, nor of a Node or the API server: choose another for spec.externalIPs or status.loadBalancer.ingress`,
        scope: 'cluster',
      },
    ]);
  });

  it('of a Service that is gone meanwhile is none', () => {
    const { notices, events } = listen();
    notices.synced(
      graph,
      { ...report, refusedAddresses: refusedAt(taken, 'http') },
      true,
      new Map(),
    );
    expect(events).toEqual([]);
  });
});

describe('an address that cannot be taken off the node', () => {
  const { graph, changes } = new Scene([
    rawService({}, { metadata: { name: 'web', uid: 'uid-web' } }),
  ]);
  const reason = '192.0.2.2 cannot be removed from kube-ipvs0: no';
  const [origin] = refusedAt('', 'http').map((each) => each.origin);
  const sync = (notices: Notices, ...origins: readonly (Origin | undefined)[]): void => {
    const stuckAddresses = origins.map((each) => ({
      address: address('192.0.2.2'),
      origin: each,
      reason,
    }));
    notices.synced(graph, { ...report, stuckAddresses }, true, changes.servicePorts);
  };
  const told = `error: ${reason}; what comes for it is refused, and it is tried again`;

  it('is told once, in the log and as an Event on the Service that had it, until it is over', () => {
    const { notices, lines, events } = listen();
    sync(notices, origin);
    sync(notices, origin);
    sync(notices);
    expect(lines.filter((line) => !line.startsWith('debug'))).toEqual([
      `${told}: ns1/web`,
      'info: 192.0.2.2 is gone now',
    ]);
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({
      regarding: { kind: 'Service', name: 'web', uid: 'uid-web' },
      reason: 'AddressStuck',
      note: `an address that it has no more is left on node node-a: ${reason}; what comes for it is refused, and it is tried again`,
      scope: 'node',
    });
  });

  it('is an Event on the Node where the Service is gone, or nobody knows whose it was', () => {
    const { notices, lines, events } = listen();
    const gone = { service: 'ns1/gone', name: 'ns1/gone', servicePort: 'ns1/gone/TCP' } as Origin;
    sync(notices, gone);
    sync(notices);
    sync(notices, undefined);
    expect(lines.filter((line) => line.startsWith('error'))).toEqual([`${told}: ns1/gone`, told]);
    expect(events.map(({ regarding: { kind }, reason: why }) => `${kind} ${why}`)).toEqual([
      'Node AddressStuck',
      'Node AddressStuck',
    ]);
  });
});

describe('a service port that is not programmed', () => {
  const dns = {
    clusterIP: '10.96.0.9',
    ports: [{ name: 'dns', port: 53, protocol: 'UDP' }],
  };
  const { graph, changes } = new Scene([
    rawService(dns, { metadata: { name: 'dns', uid: 'uid-dns' } }),
  ]);
  const unprogrammed = [{ name: 'ns1/dns:dns' as ServicePortName, reason: 'no such match' }];

  it('is an Event of this node, once for as long as it lasts', () => {
    const { notices, events } = listen();
    const bad = { ...report, unprogrammed };
    for (const each of [bad, bad, report, bad])
      notices.synced(graph, each, true, changes.servicePorts);
    expect([...changes.servicePorts.keys()]).toEqual(['ns1/dns:dns/UDP' as ServicePortKey]);
    expect(events).toHaveLength(2);
    expect(events[0]).toMatchObject({
      regarding: { name: 'dns', uid: 'uid-dns' },
      reason: 'NotProgrammed',
      note: 'ns1/dns:dns is not served by node node-a: no such match; it is tried again; the log of switchyard there says more',
      scope: 'node',
    });
  });
});

describe('an annotation that is not understood', () => {
  const bad = { 'switchyard.io/scheduler': 'fast', 'switchyard.io/drain-seconds': 'soon' };

  it('is an Event on the Service when it comes and when it changes, and none while it stays', () => {
    const events: ObjectEvent[] = [];
    const { handler } = new ServiceEvents({ tell: (event) => void events.push(event) }, 'node-a');
    const { 'switchyard.io/scheduler': _, ...less } = bad;
    const steps = [
      bad,
      {},
      bad,
      bad,
      { ...bad, 'switchyard.io/weights': '10.244.1.5=2' },
      less,
      {},
    ];
    handler.added?.(annotated(bad));
    for (let i = 1; i < steps.length; i++)
      handler.updated?.(annotated(steps[i - 1] ?? {}), annotated(steps[i] ?? {}));
    const drain =
      'metadata.annotations[switchyard.io/drain-seconds]: expected 0 to 86400, got "soon"';
    const all = `left out, the default is used: metadata.annotations[switchyard.io/scheduler]: expected one of rr, wrr, lc, wlc, lblc, lblcr, sh, dh, sed, nq, mh, ovf, got "fast"; ${drain}`;
    expect(events.map(({ note }) => note)).toEqual([
      all,
      all,
      `left out, the default is used: ${drain}`,
    ]);
    expect(events[0]).toMatchObject({
      regarding: { kind: 'Service', namespace: 'ns1', name: 'web', uid: 'u' },
      reason: 'AnnotationNotUnderstood',
      scope: 'cluster',
    });
  });
});

describe('an agent that takes over in the process', () => {
  it('tells nothing again that the one before told, and says when it is over', () => {
    const [told, annotations] = [new Told(), new Map<string, string>()];
    const events: ObjectEvent[] = [];
    const lines: string[] = [];
    const say = (_fields: object, text: string): void => void lines.push(text);
    const log = { ...silentLog, info: say, warn: say, error: say };
    const agent = () => {
      const sink = { tell: (event: ObjectEvent) => void events.push(event) };
      const service = new ServiceEvents(sink, 'node-a', annotations);
      const nodeEvents = new NodeEvents(sink, 'node-a');
      const notices = new Notices({ log, family: 'ipv4', events: service, nodeEvents, told });
      return { notices, handler: service.handler };
    };
    const { graph, changes } = new Scene([rawService()]);
    const unprogrammed = [{ name: 'ns1/web:http' as ServicePortName, reason: 'no such match' }];
    const work = ({ notices, handler }: ReturnType<typeof agent>, isBad: boolean): void => {
      handler.added?.(annotated({ 'switchyard.io/scheduler': 'fast' }));
      notices.failed(new Error('no tool'), 40_000);
      const now = isBad ? { ...report, unprogrammed, failure: new Error('x') as never } : report;
      notices.synced(graph, now, true, changes.servicePorts);
      notices.inFront(isBad ? ['"-A FORWARD -j ACCEPT" in filter'] : []);
    };
    work(agent(), true);
    const once = lines.length;
    expect(events.map(({ reason }) => reason)).toEqual([
      'AnnotationNotUnderstood',
      'SyncFailed',
      'NotProgrammed',
    ]);
    work(agent(), true);
    expect(events).toHaveLength(3);
    expect(lines).toHaveLength(once);
    work(agent(), false);
    expect(events).toHaveLength(3);
    expect(lines.slice(once)).toEqual([
      'ns1/web:http is programmed now',
      'no rule of others stands before ours any more',
    ]);
  });

  it('tells of an annotation that is spoilt again after the Service was made anew', () => {
    const events: ObjectEvent[] = [];
    const sink = { tell: (event: ObjectEvent) => void events.push(event) };
    const annotations = new Map<string, string>();
    const spoilt = annotated({ 'switchyard.io/scheduler': 'fast' });
    const [first, second] = [0, 1].map(() => new ServiceEvents(sink, 'node-a', annotations));
    first?.handler.added?.(spoilt);
    second?.handler.added?.(spoilt);
    expect(events).toHaveLength(1);
    second?.handler.removed?.(spoilt);
    second?.handler.added?.(spoilt);
    expect(events).toHaveLength(2);
  });
});

describe('an endpoint that nobody is led to', () => {
  it('is named once, with the reason, and again when it is over', () => {
    const { graph } = new Scene([rawService()]);
    const { notices, lines } = listen();
    const name = 'ns1/web:http' as ServicePortName;
    const leftOutEndpoints = [{ name, endpoint: '10.96.0.10:80', reason: 'it is here' }];
    for (const each of [{ ...report, leftOutEndpoints }, { ...report, leftOutEndpoints }, report])
      notices.synced(graph, each, true);
    const text = 'ns1/web:http: nobody is led to the endpoint 10.96.0.10:80: it is here';
    expect(lines.filter((line) => !line.startsWith('debug'))).toEqual([
      `warn: ${text}`,
      `info: no longer: ${text}`,
    ]);
  });
});

describe('syncs that fail', () => {
  it('are an Event on the Node when they do for long, once until one succeeds', () => {
    const events: ObjectEvent[] = [];
    const node = new NodeEvents({ tell: (event) => void events.push(event) }, 'node-a');
    const notices = new Notices({ log: silentLog, family: 'ipv6', nodeEvents: node });
    const { graph } = new Scene([]);
    const error = new Error('ip6tables-restore is not on this machine');
    for (const forMs of [0, 29_000, 31_000, 61_000]) notices.failed(error, forMs);
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({
      regarding: { kind: 'Node', namespace: '', name: 'node-a', uid: 'node-a' },
      reason: 'SyncFailed',
      note: expect.stringContaining(
        'the IPv6 rules could not be written for 31 s: ip6tables-restore is not on this machine',
      ) as string,
      scope: 'node',
    });
    notices.synced(graph, report, true);
    notices.failed(error, 40_000);
    expect(events).toHaveLength(2);
  });
});
