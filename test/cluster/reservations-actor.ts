// Runs in the control plane's namespace: makes one sync of ipvs mode for node-a, as far as it goes without a kernel that has
// ipvs, with everything read from the API server. Says in a line of JSON what was refused, and what was asked of the server; with
// `follow`, once more when another answer is given.
// usage: node reservations-actor.ts KUBECONFIG [follow]
import process from 'node:process';
import type { Backend } from '../../src/backends/backend.ts';
import type { SyncReport } from '../../src/backends/sync-report.ts';
import { defaultIpvsFeatures } from '../../src/backends/ipvs/options.ts';
import { IpvsLowering } from '../../src/backends/ipvs/lower.ts';
import { systemClock } from '../../src/clock.ts';
import { compileAll } from '../../src/graph/compile.ts';
import { runProgram } from '../../src/host/run-program.ts';
import { loadApiClient } from '../../src/informer/api-client.ts';
import type { ApiClient } from '../../src/informer/api-client.ts';
import { countObjects } from '../../src/informer/api-count.ts';
import { ApiList } from '../../src/informer/api-list.ts';
import { ApiSource } from '../../src/informer/api-source.ts';
import type { Kind, KubeObject } from '../../src/informer/kind.ts';
import { Wakeup } from '../../src/informer/wakeup.ts';
import { clusterReservations } from '../../src/proxy/cluster-reservations.ts';
import { Reserving } from '../../src/proxy/ipvs-backends.ts';
import type { ObjectSources } from '../../src/proxy/sources.ts';
import { endpointSliceKind } from '../../src/services/endpoint-slice-kind.ts';
import { ServiceCatalog } from '../../src/services/service-catalog.ts';
import { serviceKind } from '../../src/services/service-kind.ts';
import { address, nodeContext } from '../support/service-ports.ts';

const nodeName = 'node-a';
const [, , kubeconfig = '', how] = process.argv;
const lines: string[] = [];
const say = (_: object, message: string): void => void lines.push(message);
const log = { debug: say, info: say, warn: say, error: say };
const real = await loadApiClient({ kubeconfig, log, clock: systemClock, runProgram });
const asked: Readonly<Record<string, string>>[] = [];
const client: ApiClient = {
  server: real.server,
  get: async (path, query, ...more) => {
    if (path === '/api/v1/nodes') asked.push(query);
    return real.get(path, query, ...more);
  },
  reloadCredentials: async () => real.reloadCredentials(),
  close: async () => real.close(),
};
const ports = { client, clock: systemClock, log, random: Math.random };

async function list<T extends KubeObject>(kind: Kind<T>): Promise<readonly T[]> {
  const request = {
    freshness: 'newest',
    paged: true,
    signal: AbortSignal.timeout(20_000),
  } as const;
  const result = await new ApiList({ ...ports, kind }).run(request);
  if (result.failure !== undefined) throw new Error(result.failure.reason);
  return result.objects;
}

const catalog = new ServiceCatalog({ family: 'ipv4', nodeName, zone: undefined });
for (const service of await list(serviceKind)) catalog.setService(service);
for (const slice of await list(endpointSliceKind)) catalog.setSlice(slice);
const node = nodeContext({ localAddresses: ['127.0.0.1', '192.0.2.1'].map(address) });
const graph = compileAll(catalog.take().servicePorts, node);

const stop = new AbortController();
let counted: number | undefined;
const sources: ObjectSources = {
  server: client.server,
  source: (kind) => new ApiSource({ ...ports, kind }),
  count: async (kind, signal) => {
    counted = await countObjects(client, kind, systemClock, signal);
    return counted;
  },
  events: undefined,
  close: async () => client.close(),
};
const changed = new Wakeup();
const reserved = clusterReservations(sources, {
  nodeName,
  onChange: () => changed.ring(),
  clock: systemClock,
  log,
});
const running = reserved.run(stop.signal);
const lowering = new IpvsLowering({
  features: defaultIpvsFeatures,
  masqueradeMark: 0x4000,
  conntrackBeLiberal: false,
  scheduler: 'rr',
  schedulerProblem: () => undefined,
  reserved: (each) => reserved.reason(each),
});
const bound: string[] = [];
const inner: Backend = {
  mode: 'ipvs',
  sync: async (...[whole, delta]) => {
    const { refused, addresses } = lowering.lower(whole, delta);
    bound.push(...addresses.keys());
    return { refusedAddresses: refused } as unknown as SyncReport;
  },
  audit: async () => undefined,
  invalidate: () => {},
  desired: () => undefined,
};
const everything = { everything: true, frontends: new Set<never>(), pools: new Set<never>() };
const backend = new Reserving(inner, reserved);

async function tellSync(): Promise<void> {
  const { refusedAddresses = [] } = await backend.sync(graph, everything, stop.signal);
  const refused = refusedAddresses.map(({ address: at, reason }) => [at, reason]);
  const told = { refused, bound: bound.splice(0).toSorted(), asked, counted, lines };
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

await tellSync();
if (how === 'follow' && (await changed.wait(systemClock, 60_000, stop.signal))) await tellSync();
stop.abort();
await running;
await client.close();
