// Which addresses no Service may take, when that is looked up, and what happens when the answer changes.
import { describe, expect, it } from 'vitest';
import type { Backend } from '../../../src/backends/backend.ts';
import { compileAll } from '../../../src/graph/compile.ts';
import type { FrontendId, GraphDelta } from '../../../src/graph/rule-graph.ts';
import { clusterReservations } from '../../../src/proxy/cluster-reservations.ts';
import { ReservedAddresses } from '../../../src/proxy/reserved-addresses.ts';
import { Reserving } from '../../../src/proxy/ipvs-backends.ts';
import type { Kind, KubeObject } from '../../../src/informer/kind.ts';
import type { Source, SourceSink } from '../../../src/informer/source.ts';
import { aborted } from '../../../src/informer/wakeup.ts';
import type { EndpointSliceObject, NodeObject } from '../../../src/services/objects.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { emptyDelta, emptyGraph } from '../../support/iptables-states.ts';
import { address, byKey, endpoint, nodeContext, servicePort } from '../../support/service-ports.ts';
import { VirtualClock, settle } from './virtual-clock.ts';

const [free, taken, api, own] = ['203.0.113.1', '192.0.2.2', '192.0.2.9', '192.0.2.1'].map(address);

function node(name: string, ...addresses: readonly string[]): NodeObject {
  return {
    meta: { namespace: '', name, uid: name, createdAtMs: 0 },
    addresses: [
      { type: 'Hostname', address: name },
      ...addresses.map((each) => ({ type: 'InternalIP', address: each })),
    ],
    podCIDRs: [],
    zone: undefined,
    taintKeys: [],
    deleting: false,
  };
}

/** So many that they are not followed, none of which has an address that anybody asks for. */
const many = Array.from({ length: 500 }, (_, i) => node(`far-${i}`));

class Rig {
  readonly clock = new VirtualClock();
  nodes: readonly NodeObject[] = [node('node-a', '192.0.2.1'), node('node-b', '192.0.2.2')];
  /** Nothing comes of a list. */
  isAway = false;
  lists = 0;
  /** Who hears of changes now. */
  sink: SourceSink<NodeObject> | undefined;
  /** Of Nodes; undefined: nobody can say. */
  count: number | Error | undefined;
  /** Told of each time the API server's addresses are asked for. */
  servers: readonly string[] | Error = ['192.0.2.9'];
  serversAsked = 0;
  changes = 0;
  readonly stop = new AbortController();
  readonly reserved = new ReservedAddresses({
    nodeName: 'node-a',
    nodes: { run: async (sink, signal) => this.#list(sink, signal) },
    countNodes: async () => {
      if (this.count instanceof Error) throw this.count;
      return this.count;
    },
    apiServers: async () => {
      this.serversAsked++;
      if (this.servers instanceof Error) throw this.servers;
      return this.servers.map(address);
    },
    onChange: () => void this.changes++,
    clock: this.clock,
    log: silentLog,
  });
  readonly running = this.reserved.run(this.stop.signal);

  reasons(): readonly (string | undefined)[] {
    return [free, taken, api, own].map((each) => each && this.reserved.reason(each));
  }

  async #list(sink: SourceSink<NodeObject>, signal: AbortSignal): Promise<void> {
    this.lists++;
    if (!this.isAway) sink.replace(this.nodes);
    this.sink = sink;
    await aborted(signal);
    this.sink = undefined;
  }
}

/** A cluster of many Nodes. */
function largeRig(): Rig {
  const rig = new Rig();
  rig.nodes = [...rig.nodes, ...many];
  return rig;
}

const known = [
  undefined,
  '192.0.2.2 is an address of Node node-b',
  '192.0.2.9 is an address of the API server',
  undefined,
];

describe('the addresses of other Nodes and of the API server', () => {
  it('are not read before somebody asks', async () => {
    const rig = new Rig();
    await rig.clock.advance(86_400_000);
    expect(rig.lists).toBe(0);
  });

  it('are refused, and all others too until the list has come', async () => {
    const rig = new Rig();
    for (const reason of rig.reasons()) expect(reason).toMatch(/^it is not known yet whether /);
    await settle();
    expect([rig.lists, rig.changes, rig.reserved.version]).toEqual([1, 1, 1]);
    expect(rig.reasons()).toEqual(known);
    await settle();
    expect([rig.lists, rig.changes]).toEqual([1, 1]);
  });

  it('are waited for, and then nothing has to be said twice', async () => {
    const rig = new Rig();
    const wanted = [free, taken].filter((each) => each !== undefined);
    await rig.reserved.ready(wanted, rig.stop.signal);
    expect(rig.reasons()).toEqual(known);
    await rig.reserved.ready(wanted, rig.stop.signal);
    expect([rig.lists, rig.changes]).toEqual([1, 0]);
  });

  it('are not waited for longer than five seconds', async () => {
    const rig = new Rig();
    rig.isAway = true;
    let isOver = false;
    const waiting = rig.reserved.ready([address('203.0.113.1')], rig.stop.signal);
    void waiting.then(() => (isOver = true));
    await rig.clock.advance(4999);
    expect(isOver).toBe(false);
    await rig.clock.advance(1);
    expect(isOver).toBe(true);
  });

  it('are refused as soon as a list comes that was long in coming', async () => {
    const rig = new Rig();
    rig.isAway = true;
    rig.reasons();
    await settle();
    expect(rig.reasons()[0]).toMatch(/^it is not known yet/);
    rig.sink?.replace(rig.nodes);
    await settle();
    expect(rig.reasons()).toEqual(known);
  });

  it('are refused as soon as those of the API server can be looked up', async () => {
    const rig = new Rig();
    rig.servers = new Error('no answer');
    rig.reasons();
    await settle();
    expect(rig.reasons()[0]).toMatch(/^it is not known yet/);
    rig.servers = ['192.0.2.9'];
    await rig.clock.advance(30_000);
    expect(rig.reasons()).toEqual(known);
    expect(rig.lists).toBe(1);
  });

  it('are no longer looked up when the agent ends', async () => {
    const rig = new Rig();
    rig.stop.abort();
    await rig.running;
    rig.reasons();
    await settle();
    expect(rig.lists).toBe(0);
  });
});

const ofC = (text: string): string => `${text} is an address of Node node-c`;

async function followed(): Promise<Rig> {
  const rig = new Rig();
  rig.reasons();
  await settle();
  return rig;
}

describe('the addresses of few Nodes', () => {
  it('are followed: one that changes, comes or goes is known at once, without another list', async () => {
    const rig = await followed();
    await rig.clock.advance(600_000);
    expect([rig.changes, rig.reasons()]).toEqual([1, known]);
    rig.sink?.upsert(node('node-b', '203.0.113.1'));
    expect(rig.changes).toBe(2);
    expect(rig.reasons().slice(0, 2)).toEqual([
      '203.0.113.1 is an address of Node node-b',
      undefined,
    ]);
    rig.sink?.upsert(node('node-c', '192.0.2.2'));
    rig.sink?.remove('node-b');
    expect([rig.changes, rig.reserved.version, rig.lists]).toEqual([4, 4, 1]);
    expect(rig.reasons().slice(0, 2)).toEqual([undefined, ofC('192.0.2.2')]);
  });

  it('are known of each address that is asked for later', async () => {
    const rig = await followed();
    await rig.clock.advance(600_000);
    const late = [3, 2].map((n) => rig.reserved.reason(address(`192.0.2.${n}`)));
    expect(late).toEqual([undefined, known[1]]);
    await rig.reserved.ready([address('192.0.2.77')], rig.stop.signal);
    expect(rig.lists).toBe(1);
  });

  it('are counted and listed when there are too many, and followed again when there are not', async () => {
    const rig = await followed();
    rig.count = 2;
    for (const each of many) rig.sink?.upsert(each);
    await settle();
    expect([rig.sink, rig.lists]).toEqual([undefined, 1]);
    rig.count = 502;
    rig.nodes = [...rig.nodes, ...many, node('node-c', '203.0.113.1')];
    await rig.clock.advance(60_000);
    expect([rig.sink, rig.lists, rig.reasons()[0]]).toEqual([undefined, 2, ofC('203.0.113.1')]);
    rig.count = 1;
    rig.nodes = [node('node-a', '192.0.2.1')];
    await rig.clock.advance(60_000);
    expect([rig.lists, rig.reasons()[0]]).toEqual([3, undefined]);
    rig.sink?.upsert(node('node-c', '203.0.113.1'));
    expect(rig.reasons()[0]).toBe(ofC('203.0.113.1'));
  });

  it('are not followed any more when the agent ends', async () => {
    const rig = await followed();
    rig.stop.abort();
    await rig.running;
    expect(rig.sink).toBeUndefined();
  });
});

describe('the addresses of many Nodes', () => {
  it('are not followed, but listed anew for an address that is asked for later', async () => {
    const rig = largeRig();
    rig.reasons();
    await settle();
    expect(rig.sink).toBeUndefined();
    await rig.clock.advance(60_000);
    rig.nodes = [node('node-c', '192.0.2.77'), ...many];
    const late = address('192.0.2.77');
    expect(rig.reserved.reason(late)).toMatch(/^it is not known yet/);
    expect(rig.reasons()[0]).toBeUndefined();
    await settle();
    expect(rig.lists).toBe(2);
    expect(rig.reserved.reason(late)).toBe(ofC('192.0.2.77'));
  });

  it('are listed each hour: a Node may come or go that has an address of a Service', async () => {
    const rig = largeRig();
    rig.reasons();
    await settle();
    await rig.clock.advance(3_600_000);
    expect([rig.lists, rig.changes]).toEqual([2, 1]);
    rig.nodes = [node('node-b', '192.0.2.3'), node('node-c', '203.0.113.1'), ...many];
    await rig.clock.advance(3_600_000);
    expect([rig.lists, rig.changes]).toEqual([3, 2]);
    expect(rig.reasons().slice(0, 2)).toEqual([ofC('203.0.113.1'), undefined]);
  });

  it('are listed within a minute where their number has changed, and not before that', async () => {
    const rig = largeRig();
    rig.count = 502;
    rig.reasons();
    await settle();
    await rig.clock.advance(600_000);
    expect(rig.lists).toBe(1);
    rig.nodes = [node('node-c', '203.0.113.1'), ...many];
    rig.count = 501;
    await rig.clock.advance(60_000);
    expect([rig.lists, rig.changes]).toEqual([2, 2]);
    expect(rig.reasons()[0]).toBe(ofC('203.0.113.1'));
    rig.count = new Error('no answer');
    await rig.clock.advance(600_000);
    expect(rig.lists).toBe(2);
  });

  it('are listed as soon as an endpoint is at an address that a Service has, but no more than once a minute', async () => {
    const rig = largeRig();
    rig.reasons();
    await settle();
    await rig.clock.advance(60_000);
    rig.nodes = [node('node-b', '192.0.2.2'), node('node-c', '203.0.113.1'), ...many];
    rig.reserved.slices.added?.(slice('ingress', '10.244.1.5'));
    await settle();
    expect(rig.lists).toBe(1);
    rig.reserved.slices.updated?.(
      slice('ingress', '10.244.1.5'),
      slice('ingress', '10.244.1.5', '203.0.113.1'),
    );
    await settle();
    expect([rig.lists, rig.changes, rig.reasons()[0]]).toEqual([2, 2, ofC('203.0.113.1')]);
    // It goes to another pod, and back.
    rig.nodes = [node('node-b', '192.0.2.2'), ...many];
    await rig.clock.advance(3_600_000);
    expect([rig.lists, rig.reasons()[0]]).toEqual([3, undefined]);
    for (let times = 0; times < 3; times++) {
      rig.reserved.slices.removed?.(slice('ingress', '203.0.113.1'));
      rig.reserved.slices.added?.(slice('ingress', '203.0.113.1'));
    }
    await settle();
    expect(rig.lists).toBe(3);
    await rig.clock.advance(60_000);
    expect(rig.lists).toBe(4);
  });
});

describe('the addresses of API servers', () => {
  it.each([
    ['few', () => new Rig()],
    ['many', largeRig],
  ])('that move are known at once (%s Nodes), and no Nodes are listed for it', async (_, make) => {
    const rig = make();
    rig.reasons();
    await settle();
    rig.servers = ['203.0.113.1'];
    rig.reserved.slices.updated?.(slice('default', '192.0.2.9'), slice('default', '203.0.113.1'));
    await settle();
    const [now, , before] = rig.reasons();
    expect([now, before]).toEqual(['203.0.113.1 is an address of the API server', undefined]);
    expect([rig.lists, rig.serversAsked]).toEqual([1, 2]);
    rig.reserved.slices.updated?.(slice('default', '203.0.113.1'), slice('default', '203.0.113.1'));
    await settle();
    expect(rig.serversAsked).toBe(2);
    await rig.clock.advance(3_600_000);
    expect(rig.serversAsked).toBe(3);
  });
});

function slice(namespace: string, ...addresses: readonly string[]): EndpointSliceObject {
  return {
    meta: { namespace, name: 'kubernetes', uid: '', createdAtMs: 0 },
    serviceName: 'kubernetes',
    endpoints: addresses.map((each) => ({ addresses: [each] })),
  } as unknown as EndpointSliceObject;
}

const unresolved = (code: string) => async () => {
  throw Object.assign(new Error(`getaddrinfo ${code} api.test`), { code });
};

describe('in a cluster', () => {
  const lists: Readonly<Record<string, readonly unknown[]>> = {
    nodes: [node('node-a', '192.0.2.1'), node('node-b', '192.0.2.2')],
    endpointslices: [slice('default', '192.0.2.8'), slice('other', '192.0.2.7')],
  };

  async function reasons(
    server: string,
    resolve?: () => Promise<readonly string[]>,
  ): Promise<readonly (string | undefined)[]> {
    const asked: (string | undefined)[] = [];
    const source = <T extends KubeObject>({ resource, labelSelector }: Kind<T>): Source<T> => ({
      run: async (sink, signal) => {
        asked.push(`${resource} ${labelSelector ?? ''}`.trim());
        sink.replace(lists[resource] as readonly T[]);
        await aborted(signal);
      },
    });
    const stop = new AbortController();
    const options = { nodeName: 'node-a', onChange: () => {}, log: silentLog };
    const sources = { server, source, events: undefined, close: async () => {} };
    const clock = new VirtualClock();
    const reserved = clusterReservations(sources, { ...options, clock }, resolve);
    const running = reserved.run(stop.signal);
    const addresses = [1, 2, 7, 8, 9].map((n) => address(`192.0.2.${n}`));
    const ready = reserved.ready(addresses, stop.signal);
    await clock.advance(5000);
    await ready;
    stop.abort();
    await running;
    expect(asked).toEqual(['nodes', 'endpointslices kubernetes.io/service-name=kubernetes']);
    return addresses.map((each) => reserved.reason(each)?.replace(/.* is an address of /, ''));
  }

  it('are those of Nodes, of the API server that is used, and of those that it names', async () => {
    expect(await reasons('https://192.0.2.9:6443')).toEqual([
      undefined,
      'Node node-b',
      undefined,
      'the API server',
      'the API server',
    ]);
  });

  it('are those behind the name of the API server', async () => {
    const found = await reasons('https://api.test:6443', async () => ['192.0.2.9']);
    expect(found[4]).toBe('the API server');
  });

  it('are not taken for free while that name cannot be looked up', async () => {
    for (const reason of await reasons('https://api.test:6443', unresolved('EAI_AGAIN')))
      expect(reason).toMatch(/Nodes are not listed yet/);
  });

  it('hold nobody up at the end while the answer to that does not come', async () => {
    for (const reason of await reasons('https://api.test:6443', async () => new Promise(() => {})))
      expect(reason).toMatch(/Nodes are not listed yet/);
  });

  it('are told without it where nobody here knows the name: a proxy does', async () => {
    const found = await reasons('https://api.test:6443', unresolved('ENOTFOUND'));
    expect(found.slice(1)).toEqual(['Node node-b', undefined, 'the API server', undefined]);
  });
});

/** A backend that tells what it is asked, and whether each of its syncs was of everything. */
function reservingBackend() {
  const deltas: boolean[] = [];
  const failing = { now: false };
  const inner = {
    mode: 'ipvs',
    sync: async (_: unknown, { everything }: GraphDelta) => {
      deltas.push(everything);
      if (failing.now) throw new Error('refused');
      return {};
    },
  } as unknown as Backend;
  const asked: string[] = [];
  const ready = async (addresses: readonly string[]) => void asked.push(addresses.join());
  const reservations = { reason: () => undefined, ready, version: 0 };
  return { asked, deltas, failing, reservations, backend: new Reserving(inner, reservations) };
}

describe('a backend that keeps to them', () => {
  const { signal } = new AbortController();

  it('makes everything anew once after the answers changed, and again where that failed', async () => {
    const { deltas, failing, reservations, backend: reserving } = reservingBackend();
    const sync = async () => reserving.sync(emptyGraph, emptyDelta, signal);
    await sync();
    reservations.version = 1;
    failing.now = true;
    await expect(sync()).rejects.toThrow('refused');
    failing.now = false;
    await sync();
    await sync();
    expect(deltas).toEqual([false, true, true, false]);
  });

  it('asks for the addresses that Services take from outside, of what changed', async () => {
    const { asked, backend: reserving } = reservingBackend();
    const port = servicePort({
      nodePort: 30_080,
      externalIPs: ['203.0.113.1'],
      loadBalancerIPs: ['203.0.113.2'],
      endpoints: [endpoint('10.244.1.5:80')],
    });
    const graph = compileAll(byKey([port]), nodeContext());
    const everything = { ...emptyDelta, everything: true };
    await reserving.sync(graph, everything, signal);
    await reserving.sync(graph, emptyDelta, signal);
    const frontends = new Set(['203.0.113.2/TCP/80' as FrontendId]);
    await reserving.sync(graph, { ...emptyDelta, frontends }, signal);
    expect(asked).toEqual(['203.0.113.2,203.0.113.1', '', '203.0.113.2']);
  });
});
