// Prints how many bytes a Service takes on its way from objects to rules. A program, because heaps of
// processes that do other things besides tell nothing. usage: node --expose-gc held-memory.ts
import process from 'node:process';
import { workload } from '../../bench/workload.ts';
import { lowerAll } from '../../../src/backends/iptables/lower.ts';
import { defaultFeatures } from '../../../src/backends/iptables/state.ts';
import { GraphCompiler } from '../../../src/graph/compile.ts';
import { ServiceCatalog } from '../../../src/services/service-catalog.ts';
import { nodeContext } from '../../support/service-ports.ts';

function heapBytes(): number {
  if (globalThis.gc === undefined) throw new Error('run it with --expose-gc');
  globalThis.gc();
  return process.memoryUsage().heapUsed;
}

const count = 3000;

/** All that an agent holds for these Services, in both families. */
function program(): readonly unknown[] {
  const { services, slices } = workload(count, 3);
  const catalogs = (['ipv4', 'ipv6'] as const).map((family) => {
    const catalog = new ServiceCatalog({ family, nodeName: 'node-a', zone: undefined });
    for (const service of services) catalog.setService(service);
    for (const slice of slices) catalog.setSlice(slice);
    return { catalog, changes: catalog.take() };
  });
  const compiler = new GraphCompiler();
  const [first] = catalogs;
  if (first === undefined) throw new Error('no catalog');
  const { servicePorts, changed } = first.changes;
  const { graph } = compiler.compile(servicePorts, changed, nodeContext({}));
  const state = lowerAll(graph, {
    features: defaultFeatures,
    masqueradeMark: 0x4000,
    localhostNodePorts: false,
    conntrackBeLiberal: false,
  });
  return [services, slices, catalogs, compiler, state];
}

program(); // code and its feedback are no Service's
const before = heapBytes();
const held = program();
const bytes = heapBytes() - before;
process.stdout.write(`${held.length === 0 ? 0 : Math.round(bytes / count)}\n`);
