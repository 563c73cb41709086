// The state of each Service, as syncs go on.
import { describe, expect, it } from 'vitest';
import type { SyncReport } from '../../../src/backends/sync-report.ts';
import type { Origin } from '../../../src/graph/rule-graph.ts';
import { SwitchyardError } from '../../../src/error.ts';
import type { Address } from '../../../src/ip/address.ts';
import { Programming } from '../../../src/proxy/programming-state.ts';
import type { ServiceName, ServicePortName } from '../../../src/services/service-port.ts';
import { ServiceCatalog } from '../../../src/services/service-catalog.ts';
import type { ServiceObject } from '../../../src/services/objects.ts';
import { VirtualClock } from './virtual-clock.ts';

const written: SyncReport = {
  full: false,
  rulesTotal: {},
  rulesWritten: {},
  unprogrammed: [],
  refusedWrites: { full: 0, partial: 0 },
  failure: undefined,
};
const web = 'default/web' as ServiceName;

class Rig {
  readonly clock = new VirtualClock();
  readonly catalog = new ServiceCatalog({ family: 'ipv4', nodeName: 'node-a', zone: undefined });
  readonly programming = new Programming({
    family: 'ipv4',
    clock: this.clock,
    waiting: () => this.catalog.waiting,
  });

  set(name: string, fields: Partial<ServiceObject> = {}): void {
    if (this.catalog.setService(service(name, fields))) this.programming.changed();
  }

  take(): void {
    this.programming.taken(this.catalog.take());
  }

  /** All is in the rules. */
  settle(report: Partial<SyncReport> = {}): void {
    this.programming.listed();
    this.take();
    this.programming.written({ ...written, ...report });
  }

  get unfinished(): readonly string[] {
    return this.programming
      .report()
      .unfinished.map(
        ({ service: name, state, cause, sinceMs }) => `${name} ${state} ${cause} ${sinceMs}`,
      );
  }
}

function stuck(name: string, n: number) {
  const origin = { service: name } as unknown as Origin;
  return { address: `192.0.2.${n}` as Address, origin, reason: `192.0.2.${n} cannot be removed` };
}

function service(name: string, fields: Partial<ServiceObject>): ServiceObject {
  return {
    meta: { namespace: 'default', name, uid: name, createdAtMs: 1 },
    type: 'ClusterIP',
    clusterIP: '10.96.0.10',
    clusterIPs: ['10.96.0.10'],
    ipFamilies: ['IPv4'],
    ports: [
      { name: 'http', protocol: 'TCP', port: 80, nodePort: 0 },
      { name: 'dns', protocol: 'UDP', port: 53, nodePort: 0 },
    ],
    externalIPs: [],
    loadBalancerSourceRanges: [],
    ingress: [],
    sessionAffinity: 'None',
    affinityTimeoutSeconds: undefined,
    internalTrafficPolicy: undefined,
    externalTrafficPolicy: undefined,
    healthCheckNodePort: 0,
    ...fields,
  };
}

const refused = (reason: string): SyncReport['unprogrammed'] => [
  { name: 'default/web:http' as ServicePortName, reason },
  { name: 'default/web:dns' as ServicePortName, reason: 'Table full' },
];

describe('the state of a Service', () => {
  it('is pending until all is listed, then until its first sync, and programmed after it', () => {
    const rig = new Rig();
    rig.set('web');
    expect(rig.unfinished).toEqual(['default/web pending first-list 0']);
    rig.programming.listed();
    expect(rig.unfinished).toEqual(['default/web pending changed 0']);
    rig.take();
    expect(rig.unfinished).toEqual(['default/web pending changed 0']);
    rig.programming.written(written);
    expect(rig.programming.report()).toMatchObject({
      programmed: 1,
      unfinished: [],
      writtenAtMs: 0,
      failure: undefined,
    });
  });

  it('counts a Service once, whatever its number of ports, and leaves out those without any', () => {
    const rig = new Rig();
    rig.set('web');
    rig.set('headless', { clusterIP: 'None', clusterIPs: ['None'] });
    rig.settle();
    const report = rig.programming.report();
    expect(report.programmed).toBe(1);
    expect(report.unfinished).toEqual([]);
    expect([...report.skipped.keys()]).toEqual(['default/headless']);
    expect([...rig.programming.services()]).toEqual([web]);
  });

  it('is pending again with a change, since the change, also while a sync is under way', async () => {
    const rig = new Rig();
    rig.set('web');
    rig.set('api');
    rig.settle();
    await rig.clock.advance(1000);
    rig.set('web', { clusterIP: '10.96.0.11', clusterIPs: ['10.96.0.11'] });
    rig.take();
    await rig.clock.advance(500);
    rig.set('api', { clusterIP: '10.96.0.12', clusterIPs: ['10.96.0.12'] });
    expect(rig.unfinished).toEqual([
      'default/api pending changed 1500',
      'default/web pending changed 1000',
    ]);
    rig.programming.written(written);
    expect(rig.unfinished).toEqual(['default/api pending changed 1500']);
    expect(rig.programming.report().programmed).toBe(1);
  });

  it('says of a failed sync what failed, since when, and what to do, until one succeeds', async () => {
    const rig = new Rig();
    rig.set('web');
    rig.programming.listed();
    rig.take();
    const hint = 'install it';
    rig.programming.failed(new SwitchyardError('missing', 'no iptables-restore', { hint }));
    await rig.clock.advance(2000);
    rig.take();
    rig.programming.failed(new Error('killed'));
    const { unfinished, failure } = rig.programming.report();
    expect(unfinished).toEqual([
      {
        service: web,
        state: 'pending',
        cause: 'sync-failed',
        reason: 'the last sync failed: killed',
        sinceMs: 0,
      },
    ]);
    expect(failure).toEqual({ reason: 'killed', hint: undefined, sinceMs: 0 });
    rig.settle();
    expect(rig.programming.report()).toMatchObject({ unfinished: [], failure: undefined });
  });

  it('is failed with the words for each port that was refused, since the first time', async () => {
    const rig = new Rig();
    rig.set('web');
    rig.settle({ unprogrammed: refused('No such device') });
    await rig.clock.advance(30_000);
    rig.settle({ unprogrammed: refused('Invalid argument') });
    expect(rig.programming.report()).toMatchObject({
      programmed: 0,
      unfinished: [
        {
          service: web,
          state: 'failed',
          cause: 'refused',
          reason: 'default/web:http: Invalid argument; default/web:dns: Table full',
          sinceMs: 0,
        },
      ],
    });
    rig.set('web', { clusterIP: '10.96.0.11', clusterIPs: ['10.96.0.11'] });
    expect(rig.unfinished).toEqual(['default/web failed refused 0']);
    rig.settle();
    expect(rig.unfinished).toEqual([]);
  });

  it('is partial where an address or an endpoint is left out', () => {
    const rig = new Rig();
    rig.set('web');
    rig.set('api');
    const origin = { service: web, servicePort: '', name: '' } as unknown as Origin;
    rig.settle({
      refusedAddresses: [
        { address: '192.0.2.1' as Address, origin, reason: 'an address of node-b' },
        { address: '192.0.2.1' as Address, origin, reason: 'an address of node-b' },
      ],
      leftOutEndpoints: [
        { name: 'default/api' as ServicePortName, endpoint: '10.96.0.10:80', reason: 'a loop' },
      ],
    });
    expect(rig.programming.report()).toMatchObject({
      programmed: 0,
      unfinished: [
        { service: 'default/api', state: 'partial', cause: 'endpoint-left-out' },
        {
          service: 'default/web',
          state: 'partial',
          cause: 'address-refused',
          reason: 'not served at 192.0.2.1: an address of node-b',
        },
      ],
    });
  });

  it('is partial while the node has an address that it has no more, also when it is gone', () => {
    const rig = new Rig();
    rig.set('web');
    const unknown = { ...stuck('', 3), origin: undefined };
    rig.settle({ stuckAddresses: [stuck('default/gone', 1), stuck('default/web', 2), unknown] });
    const { programmed, unfinished } = rig.programming.report();
    expect(programmed).toBe(0);
    expect(unfinished.map((each) => [each.service, each.cause, each.reason])).toEqual([
      ['default/gone', 'address-stuck', '192.0.2.1 cannot be removed'],
      ['default/web', 'address-stuck', '192.0.2.2 cannot be removed'],
    ]);
    rig.settle({});
    expect(rig.programming.report()).toMatchObject({ programmed: 1, unfinished: [] });
  });

  it('lists the worst first', () => {
    const rig = new Rig();
    for (const name of ['a', 'b', 'c']) rig.set(name);
    const origin = { service: 'default/a' } as unknown as Origin;
    rig.settle({
      refusedAddresses: [{ address: '192.0.2.1' as Address, origin, reason: '' }],
      unprogrammed: [{ name: 'default/c:http' as ServicePortName, reason: '' }],
    });
    rig.set('b', { clusterIP: '10.96.0.11', clusterIPs: ['10.96.0.11'] });
    expect(rig.unfinished.map((line) => line.split(' ', 2).join(' '))).toEqual([
      'default/c failed',
      'default/b pending',
      'default/a partial',
    ]);
  });

  it('does not move its dates when the clock is set', async () => {
    const rig = new Rig();
    rig.set('web');
    await rig.clock.advance(1000);
    rig.clock.setDate(1_000_000);
    expect(rig.unfinished).toEqual(['default/web pending first-list 1000000']);
  });
});
