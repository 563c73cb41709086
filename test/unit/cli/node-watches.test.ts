// What both halves of a node watch is asked for once, and each half has of it what it has alone.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runProgram } from '../../../src/host/run-program.ts';
import { connectDirectly } from '../../../src/informer/api-connection.ts';
import type { ConnectApi } from '../../../src/informer/api-connection.ts';
import { Informer } from '../../../src/informer/informer.ts';
import type { KubeObject } from '../../../src/informer/kind.ts';
import { SharedApi } from '../../../src/informer/shared-api.ts';
import type { Source } from '../../../src/informer/source.ts';
import { linkedServiceKind } from '../../../src/kubelet/environment/service-variables.ts';
import { nodeObjectOf, ownNodeKind } from '../../../src/kubelet/node/own-node.ts';
import { ownNode } from '../../../src/proxy/own-node.ts';
import { openSources } from '../../../src/proxy/sources.ts';
import { serviceKind } from '../../../src/services/service-kind.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { startFakeApiServer } from '../../support/fake-api-server.ts';
import type { FakeApiServer } from '../../support/fake-api-server.ts';
import { ManualClock, until } from '../informer/widgets.ts';

const services = '/api/v1/services';
const nodes = '/api/v1/nodes';
const clock = new ManualClock();
const log = silentLog;

let server: FakeApiServer;
let folder: string;
let kubeconfig: string;
let connect: ConnectApi;
let stop: AbortController;
let running: Promise<void>[];

beforeEach(async () => {
  server = await startFakeApiServer();
  folder = mkdtempSync(join(tmpdir(), 'switchyard-node-watches-'));
  kubeconfig = join(folder, 'node.json');
  const value = {
    'current-context': 'x',
    clusters: [{ name: 'x', cluster: { server: server.url } }],
    users: [{ name: 'x', user: {} }],
    contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
  };
  writeFileSync(kubeconfig, JSON.stringify(value));
  const direct = connectDirectly({ clock, random: () => 0, env: {}, runProgram });
  connect = new SharedApi({ kubeconfig }, direct).connect;
  stop = new AbortController();
  running = [];
});

afterEach(async () => {
  stop.abort();
  await Promise.all(running);
  await server.close();
  rmSync(folder, { recursive: true });
});

function follow<T extends KubeObject>(source: Source<T>): Informer<T> {
  const informer = new Informer({ source, handlers: [], log, name: 'objects' });
  running.push(informer.start(stop.signal));
  return informer;
}

async function halves() {
  const config = { kind: 'kubernetes', kubeconfig, master: '' } as const;
  const sources = await openSources({ config, kinds: [], connect, clock, env: {}, log });
  const api = await connect({ kubeconfig }, { log });
  return {
    sources,
    proxy: {
      services: follow(sources.source(serviceKind)),
      node: follow(ownNode(sources, 'n1')),
    },
    kubelet: {
      services: follow(api.source(linkedServiceKind)),
      node: follow(api.source(ownNodeKind('n1'))),
    },
  };
}

function service(name: string, more: object = {}, labels = {}): void {
  server.put(services, {
    metadata: { name, namespace: 'shop', labels },
    spec: { type: 'ClusterIP', clusterIP: '10.96.0.7', ports: [{ port: 80 }], ...more },
  });
}

const others = { 'service.kubernetes.io/service-proxy-name': 'mesh' };

const asked = (path: string): (string | undefined)[] =>
  server.requests
    .filter((request) => request.path === path)
    .map(({ query }) => query['watch'] ?? 'list');

describe('Services', () => {
  it('are one list and one watch: those of another proxy are for pods alone', async () => {
    service('web', { externalIPs: ['192.0.2.7'] });
    service('mesh', {}, others);
    const { proxy, kubelet } = await halves();
    await until('both are told', () => proxy.services.synced && kubelet.services.synced);
    expect([...proxy.services.store.keys()]).toEqual(['shop/web']);
    expect([...kubelet.services.store.keys()]).toEqual(['shop/web', 'shop/mesh']);
    // each object is there once, with all that a proxy reads
    const web = proxy.services.store.get('shop/web');
    expect(kubelet.services.store.get('shop/web')).toBe(web);
    expect(web).toEqual(serviceKind.slim(server.objects(services)[0]).object);
    await until('they are watched', () => server.watchers(services) === 1);
    service('web', {}, others);
    await until('it is another proxy’s now', () => proxy.services.store.size === 0);
    expect(kubelet.services.store.size).toBe(2);
    service('web');
    await until('it is ours again', () => proxy.services.store.size === 1);
    expect(asked(services)).toEqual(['list', 'true']);
    expect(server.requests.find(({ path }) => path === services)?.query).toMatchObject({
      fieldSelector: 'spec.clusterIP!=None',
    });
  });

  it('that are not told of are said to be so by the proxy’s status', async () => {
    server.inject({ on: 'list', path: services, type: 'status', status: 403, times: 99 });
    const { sources, proxy } = await halves();
    await until('it is refused', () => sources.trouble?.('services') !== null);
    expect(sources.trouble?.('services')?.reason).toContain('403');
    expect(proxy.services.synced).toBe(false);
  });
});

describe('this Node', () => {
  it('is one list and one watch: a proxy has what rules need, and a kubelet all of it', async () => {
    const spec = { podCIDRs: ['10.244.1.0/24'], taints: [{ key: 'a', effect: 'NoExecute' }] };
    server.put(nodes, { metadata: { name: 'n1', labels: { rack: 'r1' } }, spec });
    const { proxy, kubelet } = await halves();
    await until('both are told', () => proxy.node.synced && kubelet.node.synced);
    const node = proxy.node.store.get('n1');
    expect(node).toMatchObject({ podCIDRs: ['10.244.1.0/24'], taintKeys: ['a'] });
    expect(node).not.toHaveProperty('whole');
    const [whole] = kubelet.node.store.values();
    expect(whole && nodeObjectOf(whole)).toMatchObject({
      metadata: { labels: { rack: 'r1' } },
      spec,
    });
    await until('it is watched', () => server.watchers(nodes) === 1);
    expect(asked(nodes)).toEqual(['list', 'true']);
    expect(server.requests.find(({ path }) => path === nodes)?.query).toMatchObject({
      fieldSelector: 'metadata.name=n1',
    });
  });
});
