import { diff } from '../../src/backends/iptables/diff.ts';
import { Lowering } from '../../src/backends/iptables/lower.ts';
import { renderRestore } from '../../src/backends/iptables/render.ts';
import { defaultFeatures } from '../../src/backends/iptables/state.ts';
import { GraphCompiler } from '../../src/graph/compile.ts';
import type { NodeContext } from '../../src/graph/node-context.ts';
import type { Cidr } from '../../src/ip/cidr.ts';
import { ServiceCatalog } from '../../src/services/service-catalog.ts';
import { changedSlice, workload } from './workload.ts';

/** Times in seconds, and the texts for the kernel. */
export interface PipelineFigures {
  readonly servicesS: number;
  readonly compileS: number;
  readonly lowerS: number;
  readonly renderS: number;
  /** One endpoint of one service changes: services, compile, lower and diff together. */
  readonly updateS: number;
  /** Heap of objects, graph and state after a collection (0 without --expose-gc). */
  readonly heapMiB: number;
  readonly rules: number;
  readonly full: string;
  readonly update: string;
}

const node: NodeContext = {
  family: 'ipv4',
  nodeName: 'node-a',
  podDetector: { kind: 'cidr', cidr: '10.244.0.0/16' as Cidr },
  nodeAddress: undefined,
  localAddresses: [],
  nodePortAddresses: { kind: 'all', loopback: true },
  masqueradeAll: false,
  serviceCidrs: ['10.96.0.0/12' as Cidr],
};

/** Runs a workload through the whole pipeline, in memory. */
export function measurePipeline(services: number, endpoints: number): PipelineFigures {
  const before = heapMiB();
  const objects = workload(services, endpoints);
  const catalog = new ServiceCatalog({ family: 'ipv4', nodeName: 'node-a', zone: undefined });
  const compiler = new GraphCompiler();
  const lowering = new Lowering({
    features: defaultFeatures,
    masqueradeMark: 0x4000,
    localhostNodePorts: true,
    conntrackBeLiberal: false,
  });
  const [servicesS, taken] = timed(() => {
    for (const service of objects.services) catalog.setService(service);
    for (const slice of objects.slices) catalog.setSlice(slice);
    return catalog.take();
  });
  const [compileS, compiled] = timed(() =>
    compiler.compile(taken.servicePorts, taken.changed, node),
  );
  const [lowerS, state] = timed(() => lowering.lower(compiled.graph, compiled.delta));
  const [renderS, full] = timed(() => renderRestore(state, { features: defaultFeatures }));
  const heap = heapMiB() - before;
  const [updateS, transaction] = timed(() => {
    catalog.setSlice(changedSlice(Math.floor(services / 2), endpoints));
    const change = catalog.take();
    const { graph, delta } = compiler.compile(change.servicePorts, change.changed, node);
    return diff(state, lowering.lower(graph, delta), '2');
  });
  return {
    servicesS,
    compileS,
    lowerS,
    renderS,
    updateS,
    heapMiB: heap,
    rules: full.split('\n').filter((line) => line.startsWith('-A')).length,
    full,
    update: transaction.restore,
  };
}

function timed<T>(work: () => T): readonly [number, T] {
  const started = process.hrtime.bigint();
  const result = work();
  return [Number(process.hrtime.bigint() - started) / 1e9, result];
}

function heapMiB(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed / 2 ** 20;
}
