// `npm run bench`: figures of this machine, printed as tables with ratios against a baseline of the same minute.
// usage: npm run bench [-- --sizes=1000,10000] [--nft-baseline]
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { BenchLab, bystander } from './lab.ts';
import type { ConnectLatency, Variant } from './lab.ts';
import { measurePipeline } from './pipeline.ts';
import type { PipelineFigures } from './pipeline.ts';
import { printTable, ratio, seconds } from './table.ts';
import { usualLayout } from './usual-layout.ts';
import { workload } from './workload.ts';

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '1000,10000,30000' },
    'nft-baseline': { type: 'boolean', default: false },
  },
});
const sizes = values.sizes.split(',').map(Number);
const endpoints = 3;
const connectCount = 4000;

const blocked = whyBlocked();
if (blocked !== undefined) {
  process.stderr.write(`bench: ${blocked}\n`);
  process.exit(1);
}
process.stdout.write(
  `node ${process.version}, ${endpoints} endpoints a service, ${new Date().toISOString().slice(0, 10)}\n`,
);
const lab = new BenchLab();
try {
  pipelineTable();
  for (const variant of ['legacy', 'nft'] as const) restoreTable(variant);
  connectTable();
} finally {
  lab.close();
}

function pipelineTable(): void {
  const rows = sizes.map((size) => {
    const figures: PipelineFigures = measurePipeline(size, endpoints);
    return [
      String(size),
      seconds(figures.servicesS),
      seconds(figures.compileS),
      seconds(figures.lowerS),
      seconds(figures.renderS),
      `${(figures.updateS * 1000).toFixed(1)} ms`,
      `${figures.heapMiB.toFixed(0)} MiB`,
      String(figures.rules),
    ];
  });
  printTable(
    'Objects to rules (no kernel)',
    ['services', 'services', 'compile', 'lower', 'render', 'one update', 'heap', 'rules'],
    rows,
  );
}

function restoreTable(variant: Variant): void {
  const rows = sizes.map((size) => {
    const figures = measurePipeline(size, endpoints);
    lab.reset();
    const full = lab.restore(variant, figures.full);
    const one = lab.restore(variant, figures.update);
    const baseline =
      variant === 'legacy' || values['nft-baseline'] ? usual(variant, size) : undefined;
    return [
      String(size),
      seconds(full),
      seconds(one),
      baseline === undefined ? 'not run' : seconds(baseline),
      ratio(baseline, full),
    ];
  });
  printTable(
    `Restore, ${variant} tools`,
    ['services', 'full', 'one update', 'usual layout, full', 'faster'],
    rows,
  );
}

function usual(variant: Variant, size: number): number {
  lab.reset();
  return lab.restore(variant, usualLayout(workload(size, endpoints)));
}

function connectTable(): void {
  lab.reset();
  lab.restore('legacy', '*nat\n-A POSTROUTING -m conntrack --ctstate INVALID\nCOMMIT\n');
  const floor = connects(bystander, 8080);
  const rows: string[][] = [['floor: connection tracking, no service', '–', ...micros(floor), '–']];
  for (const size of sizes) {
    for (const variant of ['legacy', 'nft'] as const) {
      lab.reset();
      lab.restore(variant, measurePipeline(size, endpoints).full);
      const service = connects(workload(size, endpoints).probeIP, 80);
      const past = connects(bystander, 8080);
      rows.push([
        `through a service, ${variant}`,
        String(size),
        ...micros(service),
        over(service, floor),
      ]);
      rows.push([
        `past all services, ${variant}`,
        String(size),
        ...micros(past),
        over(past, floor),
      ]);
    }
    lab.reset();
    lab.restore('legacy', usualLayout(workload(size, endpoints)));
    const baseline = connects(workload(size, endpoints).probeIP, 80);
    rows.push([
      'usual layout through a service, legacy',
      String(size),
      ...micros(baseline),
      over(baseline, floor),
    ]);
  }
  printTable(
    'TCP connect through the node',
    ['what', 'services', 'p50', 'p99', 'over the floor (p50)'],
    rows,
  );
}

/** The better of two runs: the machine is shared. */
function connects(address: string, port: number): ConnectLatency {
  const runs = [0, 1].map(() => lab.connects(address, port, connectCount));
  return runs.reduce((best, run) => (run.p50 < best.p50 ? run : best));
}

function micros(latency: ConnectLatency): readonly [string, string] {
  return [`${latency.p50.toFixed(0)} µs`, `${latency.p99.toFixed(0)} µs`];
}

function over(latency: ConnectLatency, floor: ConnectLatency): string {
  return `${latency.p50 >= floor.p50 ? '+' : ''}${(latency.p50 - floor.p50).toFixed(0)} µs`;
}

function whyBlocked(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root (network namespaces)';
  for (const tool of [
    'python3',
    'iptables-legacy-restore',
    'iptables-nft-restore',
    'nft',
    'conntrack',
  ]) {
    if (spawnSync(tool, ['--version']).error) return `needs ${tool} on the PATH`;
  }
  return undefined;
}
