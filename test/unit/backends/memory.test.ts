// How much is kept of a Service on its way from objects to rules: small things, ten thousand times over.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { workload } from '../../bench/workload.ts';
import { lowerAll } from '../../../src/backends/iptables/lower.ts';
import { defaultFeatures } from '../../../src/backends/iptables/state.ts';
import { GraphCompiler } from '../../../src/graph/compile.ts';
import { ServiceCatalog } from '../../../src/services/service-catalog.ts';
import { nodeContext } from '../../support/service-ports.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function heapBytes(): number {
  collect();
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

it('a Service of three endpoints takes at most 7 kB from objects to rules', () => {
  program(); // code and its feedback are no Service's
  const before = heapBytes();
  const held = program();
  const bytes = heapBytes() - before;
  expect(held).not.toEqual([]);
  expect(bytes / count).toBeLessThan(7000);
  expect(bytes / count).toBeGreaterThan(1000);
});
