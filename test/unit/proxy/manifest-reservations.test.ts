// What Nodes among manifests are good for: the addresses of others are kept from Services, and this one's own object is found.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Informer } from '../../../src/informer/informer.ts';
import type { Kind, KubeObject } from '../../../src/informer/kind.ts';
import type { InformerHandler, Source, SourceSink } from '../../../src/informer/source.ts';
import { aborted } from '../../../src/informer/wakeup.ts';
import { clusterReservations } from '../../../src/proxy/cluster-reservations.ts';
import { ownNode } from '../../../src/proxy/own-node.ts';
import type { NodeObject } from '../../../src/services/objects.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { address } from '../../support/service-ports.ts';
import { settle, VirtualClock } from './virtual-clock.ts';

function node(name: string, ip: string): NodeObject {
  const addresses = [
    { type: 'Hostname', address: name },
    { type: 'InternalIP', address: ip },
  ];
  const meta = { namespace: '', name, uid: name, createdAtMs: 0 };
  return { meta, addresses, podCIDRs: [], zone: undefined, taintKeys: [], deleting: false };
}

const [a, b] = [node('node-a', '192.0.2.1'), node('node-b', '192.0.2.2')];
const ofB = (ip: string): string => `${ip} is an address of Node node-b`;

let stop: AbortController;
/** What was asked for, and who waits for it. */
let sinks: Map<string, SourceSink<NodeObject>>;

beforeEach(() => {
  stop = new AbortController();
  sinks = new Map();
});

afterEach(() => {
  stop.abort();
});

const sources = {
  server: undefined,
  events: undefined,
  source: <T extends KubeObject>({ resource, fieldSelector = '' }: Kind<T>): Source<T> => ({
    run: async (sink, signal) => {
      sinks.set(`${resource}${fieldSelector}`, sink as unknown as SourceSink<NodeObject>);
      await aborted(signal);
    },
  }),
  close: async () => {},
};

function open() {
  const clock = new VirtualClock();
  const told = { changes: 0 };
  const onChange = (): void => void told.changes++;
  const options = { nodeName: 'node-a', onChange, clock, log: silentLog };
  const reserved = clusterReservations(sources, options);
  void reserved.run(stop.signal);
  const [nodes] = sinks.values();
  if (nodes === undefined) throw new Error('no Nodes were asked for');
  const reasons = () => [1, 2, 3].map((n) => reserved.reason(address(`192.0.2.${n}`)));
  return { clock, told, reserved, nodes, reasons };
}

describe('addresses of Nodes among manifests', () => {
  it('are refused but for this one’s own, as they come and go', () => {
    const { told, reserved, nodes, reasons } = open();
    expect(reasons()).toEqual([undefined, undefined, undefined]);
    nodes.replace([a, b]);
    expect(reasons()).toEqual([undefined, ofB('192.0.2.2'), undefined]);
    nodes.upsert(node('node-b', '192.0.2.3'));
    expect(reasons()).toEqual([undefined, undefined, ofB('192.0.2.3')]);
    nodes.remove('node-b');
    expect(reasons()).toEqual([undefined, undefined, undefined]);
    expect([told.changes, reserved.version]).toEqual([3, 3]);
  });

  it('make nothing anew where only this Node changes', () => {
    const { told, reserved, nodes } = open();
    nodes.replace([a, b]);
    nodes.upsert(node('node-a', '192.0.2.3'));
    nodes.replace([b]);
    expect([told.changes, reserved.version]).toEqual([1, 1]);
  });

  it('are waited for where somebody asks, for five seconds', async () => {
    const { clock, reserved, nodes } = open();
    let waited = 0;
    const ask = (...texts: readonly string[]): void =>
      void reserved.ready(texts.map(address), stop.signal).then(() => waited++);
    ask();
    ask('192.0.2.2');
    await clock.advance(4999);
    expect(waited).toBe(1);
    await clock.advance(1);
    expect(waited).toBe(2);
    ask('192.0.2.2');
    nodes.replace([]);
    await settle();
    expect(waited).toBe(3);
    ask('192.0.2.2');
    await settle();
    expect(waited).toBe(4);
  });
});

describe('this Node', () => {
  it('is found among all of the manifests', () => {
    const told: string[] = [];
    const handler: InformerHandler<NodeObject> = {
      added: ({ meta }) => void told.push(`+ ${meta.name}`),
      removed: ({ meta }) => void told.push(`- ${meta.name}`),
    };
    const source = ownNode(sources, 'node-a');
    const own = new Informer({ source, handlers: [handler], log: silentLog, name: 'nodes' });
    void own.start(stop.signal);
    const nodes = sinks.get('nodes');
    nodes?.replace([a, b]);
    for (const each of [a, b]) {
      nodes?.remove(each.meta.name);
      nodes?.upsert(each);
    }
    expect(told).toEqual(['+ node-a', '- node-a', '+ node-a']);
  });

  it('is selected by an API server', () => {
    const server = 'https://192.0.2.9:6443';
    const sink = { replace: () => {}, upsert: () => {}, remove: () => {} };
    void ownNode({ ...sources, server }, 'node-a').run(sink, stop.signal);
    expect([...sinks.keys()]).toEqual(['nodesmetadata.name=node-a']);
  });
});
