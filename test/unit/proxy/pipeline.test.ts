import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { Backend } from '../../../src/backends/backend.ts';
import type { SyncReport } from '../../../src/backends/sync-report.ts';
import { GraphCompiler } from '../../../src/graph/compile.ts';
import type { NodeContext } from '../../../src/graph/node-context.ts';
import type { GraphDelta, Origin, RuleGraph } from '../../../src/graph/rule-graph.ts';
import type { Address } from '../../../src/ip/address.ts';
import { SwitchyardError } from '../../../src/error.ts';
import { ProxyHealth } from '../../../src/proxy/health.ts';
import { Pipeline } from '../../../src/proxy/pipeline.ts';
import type { PipelineOptions } from '../../../src/proxy/pipeline.ts';
import { ServiceEvents } from '../../../src/proxy/service-events.ts';
import type { EndpointSliceObject, ServiceObject } from '../../../src/services/objects.ts';
import { ServiceCatalog } from '../../../src/services/service-catalog.ts';
import type { ServicePortName } from '../../../src/services/service-port.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import type { Events } from '../../../src/telemetry/events.ts';
import type { Log } from '../../../src/telemetry/log.ts';
import { ProxyMetrics } from '../../../src/telemetry/metrics.ts';
import { VirtualClock } from './virtual-clock.ts';

/** What a sync was asked to write: its frontends, and those that changed. */
interface Write {
  readonly frontends: readonly string[];
  readonly changed: readonly string[];
  readonly everything: boolean;
}

class FakeBackend implements Backend {
  readonly mode = 'iptables';
  readonly writes: Write[] = [];
  failures = 0;
  invalidations = 0;
  foreign: string | undefined;
  rulesInFront: readonly string[] = [];
  unprogrammed: SyncReport['unprogrammed'] = [];
  refusedAddresses: SyncReport['refusedAddresses'];
  stuckAddresses: SyncReport['stuckAddresses'];
  refusedWrites = { full: 0, partial: 0 };
  /** What the next syncs leave undone, in turn. */
  readonly unfinished: SwitchyardError[] = [];
  readonly audits = { begun: 0, ended: 0 };
  /** How long an audit takes. */
  lookAround: (signal: AbortSignal) => Promise<void> = async () => {};
  #isInvalid = false;

  async sync(graph: RuleGraph, delta: GraphDelta): Promise<SyncReport> {
    this.writes.push({
      frontends: [...graph.frontends.keys()],
      changed: [...delta.frontends],
      everything: delta.everything,
    });
    if (this.failures-- > 0) throw new Error('restore failed');
    const full = delta.everything || this.#isInvalid;
    const failure = this.unfinished.shift();
    this.#isInvalid = failure !== undefined;
    return {
      full,
      rulesTotal: { nat: graph.frontends.size },
      rulesWritten: { nat: delta.frontends.size },
      unprogrammed: this.unprogrammed,
      ...(this.refusedAddresses && { refusedAddresses: this.refusedAddresses }),
      ...(this.stuckAddresses && { stuckAddresses: this.stuckAddresses }),
      refusedWrites: this.refusedWrites,
      failure,
    };
  }

  inFront(): readonly string[] {
    return this.rulesInFront;
  }

  async audit(signal: AbortSignal): Promise<string | undefined> {
    this.audits.begun++;
    await this.lookAround(signal);
    signal.throwIfAborted();
    this.audits.ended++;
    const reason = this.foreign;
    this.foreign = undefined;
    return reason;
  }

  desired(): undefined {
    return undefined;
  }

  invalidate(): void {
    this.#isInvalid = true;
    this.invalidations++;
  }
}

const nodeA: NodeContext = {
  family: 'ipv4',
  nodeName: 'node-a',
  podDetector: { kind: 'none' },
  nodeAddress: undefined,
  localAddresses: [],
  nodePortAddresses: { kind: 'all', loopback: false },
  masqueradeAll: false,
  serviceCidrs: [],
};

interface Periods {
  syncPeriodMs: number;
  minSyncPeriodMs: number;
}

/** A pipeline whose periods may change. */
function pipelineWith(periods: Periods, options: Omit<PipelineOptions, keyof Periods>): Pipeline {
  return new Pipeline({
    ...options,
    get syncPeriodMs() {
      return periods.syncPeriodMs;
    },
    get minSyncPeriodMs() {
      return periods.minSyncPeriodMs;
    },
  });
}

class Rig {
  readonly clock = new VirtualClock();
  readonly backend = new FakeBackend();
  readonly metrics = new ProxyMetrics({ version: 'test' });
  readonly lines: string[] = [];
  /** `NAMESPACE/NAME UID: REASON` */
  readonly events: string[] = [];
  readonly health = new ProxyHealth({ clock: this.clock, timeoutMs: 60_000, nodeExpected: false });
  readonly stop = new AbortController();
  readonly conntrackMs: number[] = [];
  conntrackFailures = 0;
  conntrackHangs = false;
  /** What the next reconcilings wait for, in turn. */
  readonly conntrackWaits: Promise<void>[] = [];
  readonly firstRulesMs: number[] = [];
  node = nodeA;
  nodeFailures = 0;
  readonly periods = { syncPeriodMs: 30_000, minSyncPeriodMs: 1000 };
  readonly pipeline = pipelineWith(this.periods, {
    family: 'ipv4',
    catalog: new ServiceCatalog({ family: 'ipv4', nodeName: 'node-a', zone: undefined }),
    compiler: new GraphCompiler(),
    backend: this.backend,
    node: async () => {
      if (this.nodeFailures-- > 0) throw new Error('no addresses');
      return this.node;
    },
    health: this.health,
    metrics: this.metrics,
    clock: this.clock,
    log: this.#log(),
    events: new ServiceEvents({ tell: this.#tell }, 'node-a'),
    onFirstRules: () => void this.firstRulesMs.push(this.clock.now()),
    serveHealth: async () => {},
    reconcileConntrack: async (_servicePorts, _graph, signal) => {
      this.conntrackMs.push(this.clock.now());
      await this.conntrackWaits.shift();
      if (this.conntrackHangs) await once(signal, 'abort');
      signal.throwIfAborted();
      if (this.conntrackFailures-- > 0) throw new Error('conntrack -L failed');
    },
  });
  readonly done = this.pipeline.run(this.stop.signal);

  sync(): void {
    this.pipeline.services.synced?.();
    this.pipeline.slices.synced?.();
  }

  async metric(line: string): Promise<string | undefined> {
    const text = await this.metrics.registry.metrics();
    return text
      .split('\n')
      .find((each) => each.startsWith(line))
      ?.slice(line.length)
      .trim();
  }

  get #tell(): Events['tell'] {
    return ({ regarding, reason }) =>
      void this.events.push(`${regarding.namespace}/${regarding.name} ${regarding.uid}: ${reason}`);
  }

  #log(): Log {
    const write = (_: object, message: string): void => void this.lines.push(message);
    return { ...silentLog, warn: write, error: write };
  }
}

function service(name: string, clusterIP: string, protocol = 'TCP'): ServiceObject {
  return {
    meta: { namespace: 'default', name, uid: name, createdAtMs: 1 },
    type: 'ClusterIP',
    clusterIP,
    clusterIPs: [clusterIP],
    ipFamilies: ['IPv4'],
    ports: [{ name: 'p', protocol, port: 80, nodePort: 0 }],
    externalIPs: [],
    loadBalancerSourceRanges: [],
    ingress: [],
    sessionAffinity: 'None',
    affinityTimeoutSeconds: undefined,
    internalTrafficPolicy: undefined,
    externalTrafficPolicy: undefined,
    healthCheckNodePort: 0,
  };
}

function slice(serviceName: string, address: string, protocol = 'TCP'): EndpointSliceObject {
  return {
    meta: { namespace: 'default', name: `${serviceName}-1`, uid: 'u', createdAtMs: 1 },
    serviceName,
    addressType: 'IPv4',
    ports: [{ name: 'p', port: 8080, protocol }],
    endpoints: [
      {
        addresses: [address],
        ready: true,
        serving: true,
        terminating: false,
        nodeName: 'node-a',
        zoneHints: [],
        nodeHints: [],
      },
    ],
    triggerTimeMs: undefined,
  };
}

const web = service('web', '10.96.0.1');
const api = service('api', '10.96.0.2');

describe('a pipeline', () => {
  it('says when a sync was asked for last', async () => {
    const rig = new Rig();
    await rig.clock.advance(2000);
    rig.sync();
    const name = 'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv4"}';
    expect(await rig.metric(name)).toBe('2');
    rig.stop.abort();
    await rig.done;
  });

  it('writes nothing while only one of the two lists is complete, whatever events arrive', async () => {
    const { pipeline, backend, clock } = new Rig();
    pipeline.services.added?.(web);
    pipeline.services.synced?.();
    pipeline.slices.added?.(slice('web', '10.1.0.1'));
    pipeline.request();
    await clock.advance(3_600_000);
    expect(backend.writes).toEqual([]);
  });

  it('has an Event on each Service that is not served somewhere, or not at all, once', async () => {
    const rig = new Rig();
    for (const each of [web, api]) rig.pipeline.services.added?.(each);
    const name = 'default/web:p' as ServicePortName;
    const origin = { service: 'default/web', name, servicePort: `${name}/TCP` } as Origin;
    const address = '192.0.2.2' as Address;
    rig.backend.refusedAddresses = [{ address, origin, reason: 'it is of Node node-b' }];
    rig.backend.unprogrammed = [{ name: 'default/api:p' as ServicePortName, reason: 'refused' }];
    rig.sync();
    await rig.clock.advance(300_000);
    expect(rig.backend.writes.length).toBeGreaterThan(2); // what is not programmed is tried again
    expect(rig.events).toEqual([
      'default/api api: NotProgrammed',
      'default/web web: AddressRefused',
    ]);
  });

  it('writes once, at once, when both lists are complete and empty', async () => {
    const rig = new Rig();
    rig.sync();
    await rig.clock.advance(0);
    expect(rig.backend.writes).toEqual([{ frontends: [], changed: [], everything: true }]);
    await rig.clock.advance(29_000);
    expect(rig.backend.writes).toHaveLength(1);
  });

  it('says once that the first rules are in, however often writing them failed before', async () => {
    const rig = new Rig();
    rig.backend.failures = 1;
    rig.sync();
    await rig.clock.advance(0);
    expect(rig.firstRulesMs).toEqual([]);
    await rig.clock.advance(5000);
    expect(rig.firstRulesMs).toHaveLength(1);
    rig.pipeline.services.added?.(web);
    await rig.clock.advance(5000);
    expect(rig.backend.writes.length).toBeGreaterThan(1);
    expect(rig.firstRulesMs).toHaveLength(1);
  });

  it('makes one sync of many events', async () => {
    const rig = new Rig();
    rig.sync();
    await rig.clock.advance(5000);
    for (let i = 1; i <= 50; i++) rig.pipeline.services.added?.(service(`s${i}`, `10.96.1.${i}`));
    await rig.clock.advance(5000);
    expect(rig.backend.writes.map(({ changed }) => changed.length)).toEqual([0, 50]);
  });

  it('does not sync for an update that changes nothing', async () => {
    const rig = new Rig();
    rig.pipeline.services.added?.(web);
    rig.sync();
    await rig.clock.advance(5000);
    rig.pipeline.services.updated?.(web, { ...web });
    await rig.clock.advance(5000);
    expect(rig.backend.writes).toHaveLength(1);
    expect(await rig.metric('kubeproxy_sync_proxy_rules_service_changes_total')).toBe('2');
  });

  it('tries a failed sync again, with all services, and counts the failure', async () => {
    const rig = new Rig();
    rig.pipeline.services.added?.(web);
    rig.pipeline.services.added?.(api);
    rig.sync();
    await rig.clock.advance(5000);
    rig.backend.failures = 1;
    rig.pipeline.slices.added?.(slice('web', '10.1.0.1'));
    await rig.clock.advance(30_000);
    expect(rig.backend.writes).toHaveLength(3);
    expect(rig.backend.writes[2]?.frontends).toHaveLength(2);
    const failures = 'kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family="IPv4"}';
    const partial =
      'kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total{ip_family="IPv4"}';
    expect([await rig.metric(failures), await rig.metric(partial)]).toEqual(['1', '1']);
    expect(rig.health.report().healthy).toBe(true);
  });

  it('waits for a node that cannot be looked at, and nothing is lost', async () => {
    const rig = new Rig();
    rig.nodeFailures = 5;
    rig.pipeline.services.added?.(web);
    rig.pipeline.slices.added?.(slice('web', '10.1.0.1'));
    rig.sync();
    await rig.clock.advance(1000);
    rig.pipeline.services.added?.(api);
    await rig.clock.advance(4000);
    expect(rig.backend.writes).toEqual([]);
    await rig.clock.advance(60_000);
    expect(rig.backend.writes).toHaveLength(1);
    expect(rig.backend.writes[0]?.changed).toHaveLength(2);
    expect(rig.health.report().healthy).toBe(true);
  });

  it('counts what was refused in a sync that succeeded in the end', async () => {
    const rig = new Rig();
    rig.backend.refusedWrites = { full: 1, partial: 1 };
    rig.sync();
    await rig.clock.advance(5000);
    const prefix = 'kubeproxy_sync_proxy_rules_iptables_';
    const counted = 'restore_failures_total{ip_family="IPv4"}';
    expect(await rig.metric(`${prefix}${counted}`)).toBe('2');
    expect(await rig.metric(`${prefix}partial_${counted}`)).toBe('1');
  });

  it('tries again what a sync left undone, and is unhealthy while that lasts', async () => {
    const rig = new Rig();
    const failure = new SwitchyardError('tool', 'ipset restore failed');
    for (let i = 0; i < 7; i++) rig.backend.unfinished.push(failure);
    rig.sync();
    await rig.clock.advance(1500);
    expect(rig.backend.writes).toHaveLength(2);
    expect(rig.conntrackMs).toHaveLength(2);
    await rig.clock.advance(60_000);
    expect(rig.health.report().healthy).toBe(false);
    await rig.clock.advance(60_000);
    expect(rig.health.report().healthy).toBe(true);
    expect(rig.lines.filter((line) => line.includes('ipset restore failed'))).toHaveLength(7);
  });

  it('reconciles connection tracking again within the sync period where that failed, and says so once', async () => {
    const rig = new Rig();
    rig.conntrackFailures = 3;
    rig.sync();
    await rig.clock.advance(180_000);
    expect(rig.conntrackMs).toEqual([0, 30_000, 60_000, 90_000]);
    expect(rig.lines).toEqual([expect.stringContaining('conntrack -L failed')]);
  });

  it('writes rules while connection tracking takes its time, and then reconciles once, for the latest', async () => {
    const rig = new Rig();
    const hanging = Promise.withResolvers<void>();
    rig.conntrackWaits.push(hanging.promise);
    rig.sync();
    await rig.clock.advance(2000);
    for (const [i, host] of [1, 2, 3].entries()) {
      rig.pipeline.services.added?.(service(`dns${host}`, `10.96.0.${host}`, 'UDP'));
      await rig.clock.advance(2000);
      expect(rig.backend.writes).toHaveLength(i + 2);
    }
    expect(rig.conntrackMs).toEqual([0]);
    hanging.resolve();
    await rig.clock.advance(0);
    expect(rig.conntrackMs).toEqual([0, 8000]);
  });

  it('ends with what connection tracking is at, and waits no longer than its grace', async () => {
    const rig = new Rig();
    rig.conntrackHangs = true;
    rig.sync();
    await rig.clock.advance(0);
    rig.stop.abort();
    let isOver = false;
    void rig.done.then(() => (isOver = true));
    await rig.clock.advance(1999);
    expect(isOver).toBe(false);
    await rig.clock.advance(1);
    expect(isOver).toBe(true);
    expect(rig.lines).toEqual([]);
  });

  it('writes nothing for a standstill of a minute, and no more than the hourly sync for one of hours', async () => {
    const rig = new Rig();
    rig.sync();
    await rig.clock.advance(5000);
    await rig.clock.standStill(60_000);
    await rig.clock.advance(1000);
    expect(rig.backend.writes).toHaveLength(1);
    await rig.clock.standStill(3 * 3_600_000);
    await rig.clock.advance(60_000);
    expect(rig.backend.writes).toHaveLength(2);
    expect(rig.health.report().healthy).toBe(true);
    rig.pipeline.services.added?.(web);
    await rig.clock.standStill(60_000);
    expect(rig.backend.writes.at(-1)?.changed).toHaveLength(1);
  });

  it('turns unhealthy when writing fails for the time-out', async () => {
    const rig = new Rig();
    rig.backend.failures = 1000;
    rig.sync();
    await rig.clock.advance(60_000);
    expect(rig.health.report().healthy).toBe(false);
  });

  it('writes anew within the sync period when the rules are no longer ours', async () => {
    const rig = new Rig();
    rig.sync();
    await rig.clock.advance(5000);
    rig.backend.foreign = 'the chain KUBE-SERVICES is gone';
    await rig.clock.advance(30_000);
    expect(rig.backend.invalidations).toBe(1);
    expect(rig.backend.writes).toHaveLength(2);
  });

  it('counts each look that finds a rule of others before ours, and writes nothing for it', async () => {
    const rig = new Rig();
    rig.sync();
    await rig.clock.advance(5000);
    const writes = rig.backend.writes.length;
    rig.backend.rulesInFront = ['"-A FORWARD -j ACCEPT" in filter'];
    await rig.clock.advance(90_000);
    const changed = 'switchyard_rules_changed_by_others_total{ip_family="IPv4"}';
    expect(await rig.metric(changed)).toBe('3');
    expect(rig.lines).toHaveLength(1);
    expect(rig.backend.writes).toHaveLength(writes);
  });

  it('lets changes go before an audit, which is made after them, and at last before more of them', async () => {
    const rig = new Rig();
    rig.sync();
    rig.pipeline.services.added?.(web);
    rig.pipeline.slices.added?.(slice('web', '10.1.0.1'));
    await rig.clock.advance(29_000);
    rig.backend.lookAround = async (signal) => rig.clock.sleep(5000, signal);
    rig.backend.foreign = 'the chain KUBE-SERVICES is gone';
    await rig.clock.advance(2000);
    const seen: (readonly number[])[] = [];
    for (let change = 2; change < 6; change++) {
      rig.pipeline.slices.added?.(slice('web', `10.1.0.${change}`));
      await rig.clock.advance(2000);
      seen.push([rig.backend.writes.length, rig.backend.audits.begun]);
    }
    expect(seen).toEqual([
      [2, 2],
      [3, 3],
      [4, 4],
      [4, 4],
    ]);
    await rig.clock.advance(2000);
    expect(rig.backend.audits).toEqual({ begun: 4, ended: 1 });
    expect(rig.backend.invalidations).toBe(1);
    expect(rig.backend.writes.length).toBeGreaterThan(4);
    expect(rig.lines).toEqual(['rules were changed by others; full sync']);
  });

  it('follows the node: a changed context is compiled within the sync period', async () => {
    const rig = new Rig();
    rig.sync();
    await rig.clock.advance(5000);
    rig.node = { ...nodeA, nodeAddress: '192.0.2.7' as Address };
    await rig.clock.advance(30_000);
    expect(rig.backend.writes.map(({ everything }) => everything)).toEqual([true, true]);
  });

  it('takes up other settings at once: the context of the node, and the periods', async () => {
    const rig = new Rig();
    rig.sync();
    await rig.clock.advance(5000);
    rig.node = { ...nodeA, masqueradeAll: true };
    rig.periods.syncPeriodMs = 2000;
    rig.pipeline.settingsChanged();
    await rig.clock.advance(0);
    expect(rig.backend.writes.map(({ everything }) => everything)).toEqual([true, true]);
    rig.node = { ...nodeA, nodeAddress: '192.0.2.7' as Address };
    await rig.clock.advance(2000);
    expect(rig.backend.writes).toHaveLength(3);
    rig.periods.minSyncPeriodMs = 10_000;
    rig.pipeline.settingsChanged();
    await rig.clock.advance(1000);
    const before = rig.backend.writes.length;
    rig.pipeline.settingsChanged();
    await rig.clock.advance(8000);
    expect(rig.backend.writes).toHaveLength(before);
    await rig.clock.advance(2000);
    expect(rig.backend.writes.length).toBeGreaterThan(before);
  });

  it('reconciles connection tracking after changes of UDP and after full syncs alone', async () => {
    const rig = new Rig();
    rig.sync();
    rig.pipeline.services.added?.(web);
    rig.pipeline.slices.added?.(slice('web', '10.1.0.1'));
    await rig.clock.advance(5000);
    expect(rig.conntrackMs).toEqual([0]);
    rig.pipeline.slices.updated?.(slice('web', '10.1.0.1'), slice('web', '10.1.0.3'));
    await rig.clock.advance(1000);
    expect(rig.backend.writes).toHaveLength(2);
    expect(rig.conntrackMs).toEqual([0]);
    rig.pipeline.services.added?.(service('dns', '10.96.0.10', 'UDP'));
    rig.pipeline.slices.added?.(slice('dns', '10.1.0.2', 'UDP'));
    await rig.clock.advance(5000);
    expect(rig.conntrackMs).toEqual([0, 6000]);
    rig.backend.foreign = 'the chain KUBE-SERVICES is gone';
    await rig.clock.advance(30_000);
    expect(rig.conntrackMs).toEqual([0, 6000, 30_000]);
  });

  it('names the service ports that were left out, once, and tries them again', async () => {
    const rig = new Rig();
    rig.backend.unprogrammed = [{ name: 'default/web:p' as never, reason: 'line 3 failed' }];
    rig.sync();
    await rig.clock.advance(90_000);
    expect(rig.lines).toEqual(['default/web:p is not programmed']);
    expect(rig.backend.writes.length).toBeGreaterThan(2);
  });

  it('tries again to take an address off the node, and is healthy all the while', async () => {
    const rig = new Rig();
    const reason = '192.0.2.2 cannot be removed from kube-ipvs0: no';
    rig.backend.stuckAddresses = [{ address: '192.0.2.2' as never, origin: undefined, reason }];
    rig.sync();
    await rig.clock.advance(90_000);
    expect(rig.lines).toEqual([`${reason}; what comes for it is refused, and it is tried again`]);
    expect(rig.backend.writes.length).toBeGreaterThan(2);
    expect(rig.health.report().healthy).toBe(true);
  });

  it('observes how long a change took to be in force', async () => {
    const rig = new Rig();
    rig.sync();
    await rig.clock.advance(5000);
    rig.pipeline.services.added?.(web);
    rig.pipeline.slices.added?.({ ...slice('web', '10.1.0.1'), triggerTimeMs: 3000 });
    await rig.clock.advance(5000);
    const sum = 'kubeproxy_network_programming_duration_seconds_sum{ip_family="IPv4"}';
    expect(await rig.metric(sum)).toBe('2');
  });

  it('measures a bounded number of changes, however long syncs fail', async () => {
    const rig = new Rig();
    rig.sync();
    await rig.clock.advance(5000);
    rig.pipeline.services.added?.(web);
    rig.backend.failures = 1_000_000;
    for (let round = 0; round < 120; round++) {
      for (let each = 0; each < 150; each++) {
        const addresses = slice('web', `10.1.${round}.${each}`);
        rig.pipeline.slices.added?.({ ...addresses, triggerTimeMs: rig.clock.now() });
      }
      await rig.clock.advance(60_000);
    }
    rig.backend.failures = 0;
    await rig.clock.advance(60_000);
    const count = 'kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"}';
    // a hundred of a Service at a time, ten thousand in all
    expect(await rig.metric(count)).toBe('10000');
  });

  it('ends when it is stopped, and writes nothing more', async () => {
    const rig = new Rig();
    rig.sync();
    await rig.clock.advance(5000);
    rig.stop.abort();
    await rig.done;
    rig.pipeline.services.added?.(web);
    await rig.clock.advance(60_000);
    expect(rig.backend.writes).toHaveLength(1);
  });
});
