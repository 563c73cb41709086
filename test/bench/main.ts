// `npm run bench`: figures of this machine, printed as tables with ratios against a baseline of the same minute.
// usage: npm run bench [-- --sizes=1000,10000] [--nft-baseline]; --help names the benchmarks of other parts
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { toolPath } from '../../src/host/tool-path.ts';
import { interruptible } from '../support/interruptible.ts';
import { BenchLab, bystander } from './lab.ts';
import type { ConnectLatency, Variant } from './lab.ts';
import { measurePipeline } from './pipeline.ts';
import type { PipelineFigures } from './pipeline.ts';
import { printTable, ratio, seconds } from './table.ts';
import { usualLayout } from './usual-layout.ts';
import { workload } from './workload.ts';

const help = `usage: npm run bench [-- --sizes=1000,10000,30000] [--nft-baseline]
  the rules: from objects to what the kernel has, and connects through them

others, each with figures of its own (docs/performance.md):
  npm run bench:kubelet     pods until Ready, restarts and memory of the kubelet, with real containerd and a control plane
  npm run bench:upstream    the proxy beside upstream's kube-proxy
  npm run bench:ipvs        the same in ipvs mode, in a virtual machine
  npm run bench:relay       the userspace mode's relay beside haproxy and socat
`;
const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '1000,10000,30000' },
    'nft-baseline': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
process.env['PATH'] = toolPath(process.env['PATH']);
const sizes = values.sizes.split(',').map(Number);
const endpoints = 3;
const updateRuns = 5;
const connectRounds = 7;
const connectCount = 1500;

const blocked = whyBlocked();
if (blocked !== undefined) {
  process.stderr.write(`bench: ${blocked}\n`);
  process.exit(1);
}
process.stdout.write(
  `node ${process.version}, ${endpoints} endpoints a service, ${new Date().toISOString().slice(0, 10)}\n`,
);
await interruptible(async (interrupted) => {
  const lab = await BenchLab.create('swybench', interrupted);
  try {
    const floor = await BenchLab.create('swyfloor', interrupted);
    try {
      await floor.trackConnections();
      pipelineTable();
      for (const variant of ['legacy', 'nft'] as const) await restoreTable(lab, variant);
      await connectTable(lab, floor);
    } finally {
      await floor.close();
    }
  } finally {
    await lab.close();
  }
});

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

async function restoreTable(lab: BenchLab, variant: Variant): Promise<void> {
  const rows: (readonly string[])[] = [];
  for (const size of sizes) {
    const figures = measurePipeline(size, endpoints);
    const own = await restores(lab, variant, figures.full, figures.update);
    const isUsualRun = variant === 'legacy' || size <= 1000 || values['nft-baseline'];
    const usual = isUsualRun
      ? await restores(
          lab,
          variant,
          ...usualLayout(workload(size, endpoints), Math.floor(size / 2)),
        )
      : undefined;
    rows.push([
      String(size),
      seconds(own.full),
      against(usual?.full, own.full),
      seconds(own.update),
      against(usual?.update, own.update),
    ]);
  }
  printTable(
    `Restore, ${variant} tools`,
    ['services', 'full', 'usual layout', 'one update', 'usual layout'],
    rows,
  );
}

/** Seconds: the first load into an empty node, and the best of some updates after it. */
async function restores(
  lab: BenchLab,
  variant: Variant,
  full: string,
  update: string,
): Promise<{ readonly full: number; readonly update: number }> {
  await lab.reset();
  const first = await lab.restore(variant, full);
  const updates: number[] = [];
  for (let run = 0; run < updateRuns; run++) updates.push(await lab.restore(variant, update));
  return { full: first, update: best(updates, (each) => each) };
}

function against(baseline: number | undefined, own: number): string {
  return baseline === undefined ? 'not run' : `${seconds(baseline)} (${ratio(baseline, own)})`;
}

async function connectTable(lab: BenchLab, floor: BenchLab): Promise<void> {
  const rows: (readonly string[])[] = [];
  for (const size of sizes) {
    for (const variant of ['legacy', 'nft'] as const) {
      await lab.reset();
      await lab.restore(variant, measurePipeline(size, endpoints).full);
      rows.push(await connectRow(lab, floor, `${variant} tools`, size));
    }
    await lab.reset();
    await lab.restore('legacy', usualLayout(workload(size, endpoints), 0)[0]);
    rows.push(await connectRow(lab, floor, 'usual layout, legacy tools', size));
  }
  printTable(
    'TCP connect through the node: p50 over the floor (p50, p99)',
    ['rules', 'services', 'floor: no service', 'through a service', 'past all services'],
    rows,
  );
}

/** The floor, a service and a bystander take turns, since the machine's speed drifts. */
async function connectRow(
  lab: BenchLab,
  floor: BenchLab,
  rules: string,
  size: number,
): Promise<readonly string[]> {
  const targets = [
    { in: floor, address: bystander, port: 8080 },
    { in: lab, address: workload(size, endpoints).probeIP, port: 80 },
    { in: lab, address: bystander, port: 8080 },
  ];
  const runs: ConnectLatency[][] = targets.map(() => []);
  for (let round = 0; round < connectRounds; round++) {
    for (const [i, { in: where, address, port }] of targets.entries()) {
      runs[i]?.push(await where.connects(address, port, connectCount));
    }
  }
  const [base, ...others] = runs.map((run) => best(run, ({ p50 }) => p50));
  if (base === undefined) throw new TypeError('no connect was timed');
  return [rules, String(size), micros(base), ...others.map((each) => over(each, base))];
}

/** The run with the least value: what else the machine does only ever adds. */
function best<T>(runs: readonly T[], value: (run: T) => number): T {
  const [run] = runs.toSorted((a, b) => value(a) - value(b));
  if (run === undefined) throw new TypeError('there was no run');
  return run;
}

function micros({ p50, p99 }: ConnectLatency): string {
  return `${p50.toFixed(0)}, ${p99.toFixed(0)} µs`;
}

function over(latency: ConnectLatency, base: ConnectLatency): string {
  const more = Math.round(latency.p50 - base.p50);
  return `${more < 0 ? '' : '+'}${more} µs (${micros(latency)})`;
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
