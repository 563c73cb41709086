// `npm run test:soak`: half an hour of churn against a real API server, with a checker that asks all the while.
// Prints a row a minute and tables at the end; fails by its exit status.
// usage: npm run test:soak [-- --minutes=30] [--rate=20] [--mode=iptables|userspace] [--tools=legacy|nft] [--lag=5] [--patience=2] [--seed=N]
// An answer is wrong if no state of the last `lag` seconds explains it: 5 on a machine of its own.
import process from 'node:process';
import { parseArgs } from 'node:util';
import { toolPath } from '../../src/host/tool-path.ts';
import { printTable } from '../bench/table.ts';
import { ControlPlane } from '../cluster/control-plane.ts';
import { interruptible } from '../support/interruptible.ts';
import { soak } from './soak.ts';
import type { RestFigures, SoakReport, SoakSample } from './soak.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    rate: { type: 'string', default: '20' },
    mode: { type: 'string', default: 'iptables' },
    tools: { type: 'string', default: 'legacy' },
    lag: { type: 'string', default: '5' },
    patience: { type: 'string', default: '2' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
  },
});
process.env['PATH'] = toolPath(process.env['PATH']);
const minutes = Number(values.minutes);
const warmUpSeconds = Math.min(60, minutes * 10);
const rows = 10;

const blocked = ControlPlane.blocked();
if (blocked !== undefined) {
  process.stderr.write(`soak: ${blocked}\n`);
  process.exit(1);
}
process.stdout.write(
  `node ${process.version}, ${values.mode} mode, ${values.tools} tools, allowed lag ${values.lag} s, seed ${values.seed}, ${new Date().toISOString().slice(0, 10)}\n`,
);
let printed = 0;
await interruptible(async (signal) => {
  const report = await soak({
    signal,
    seconds: minutes * 60,
    warmUpSeconds,
    changesPerSecond: Number(values.rate),
    questionsPerSecond: 40,
    slots: 40,
    allowedLagMs: Number(values.lag) * 1000,
    patienceMs: Number(values.patience) * 1000,
    sampleEveryMs: 5000,
    seed: Number(values.seed),
    tools: values.tools === 'nft' ? 'nft' : 'legacy',
    mode: values.mode === 'userspace' ? 'userspace' : 'iptables',
    // Heaps breathe by about one.
    heapToleranceMiB: 3,
    conntrackWaitMs: 200_000,
    onSample: (sample) => {
      if (sample.seconds < (printed + 1) * 60) return;
      printed = Math.floor(sample.seconds / 60);
      process.stdout.write(`${cells([sample]).join('  ')}\n`);
    },
  });
  printReport(report);
  process.exitCode = report.problems.length === 0 ? 0 : 1;
});

function printReport({ samples, before, after, apiFailures, problems }: SoakReport): void {
  const head =
    'minute,changes,syncs,questions,wrong,longest lag,CPU,heap,RSS,descriptors,rules,sets,conntrack';
  const step = Math.ceil(samples.length / rows);
  const groups = Array.from({ length: rows }, (_, row) =>
    samples.slice(row * step, (row + 1) * step),
  );
  printTable(
    `Churn, ${values.rate} changes a second`,
    head.split(','),
    groups.filter((group) => group.length > 0).map(cells),
  );
  const rest = (what: string, of: (figures: RestFigures) => string): string[] => [
    what,
    of(before),
    of(after),
  ];
  printTable(
    'At rest, churned Services deleted',
    ['', 'after the warm-up', 'after the churn'],
    [
      rest('heap after a collection', (each) => `${each.collectedHeapMiB.toFixed(1)} MiB`),
      rest('RSS', (each) => `${each.rssMiB.toFixed(0)} MiB`),
      rest('file descriptors', (each) => String(each.descriptors)),
      rest('child processes', (each) => String(each.children)),
      rest('rules', (each) => String(each.rules)),
      rest('sets', (each) => String(each.sets)),
      rest('conntrack entries', (each) => String(each.conntrack)),
      rest('failed restores', (each) => String(each.restoreFailures)),
    ],
  );
  const steady = samples.filter(({ seconds }) => seconds > warmUpSeconds);
  const used = steady.map(({ seconds, heapMiB }) => ({ hours: seconds / 3600, value: heapMiB }));
  const resident = steady.map(({ seconds, rssMiB }) => ({ hours: seconds / 3600, value: rssMiB }));
  process.stdout.write(
    `\nfitted after the warm-up: heap ${slope(used)} MiB an hour, RSS ${slope(resident)} MiB an hour; requests the API server failed: ${apiFailures}\n`,
  );
  for (const problem of problems) process.stdout.write(`PROBLEM: ${problem}\n`);
  if (problems.length === 0) process.stdout.write('all is back where it was; no wrong answer\n');
}

/** The last of some samples; of memory the least, which is nearest to what is really used. */
function cells(group: readonly SoakSample[]): string[] {
  const last = group.at(-1);
  if (last === undefined) return [];
  const least = (of: (sample: SoakSample) => number): string =>
    Math.min(...group.map(of)).toFixed(0);
  const most = (of: (sample: SoakSample) => number): string => String(Math.max(...group.map(of)));
  return [
    (last.seconds / 60).toFixed(1),
    String(last.changes),
    String(last.syncs),
    String(last.questions),
    String(last.wrong),
    `${(last.longestLagMs / 1000).toFixed(1)} s`,
    cpu(group),
    `${least(({ heapMiB }) => heapMiB)} MiB`,
    `${least(({ rssMiB }) => rssMiB)} MiB`,
    most(({ descriptors }) => descriptors),
    most(({ rules }) => rules),
    most(({ sets }) => sets),
    most(({ conntrack }) => conntrack),
  ];
}

/** The agent's share of one core. */
function cpu(group: readonly SoakSample[]): string {
  const [first, last] = [group[0], group.at(-1)];
  if (first === undefined || last === undefined || first === last) return '–';
  const share = (last.cpuSeconds - first.cpuSeconds) / (last.seconds - first.seconds);
  return `${(share * 100).toFixed(0)} %`;
}

/** Least squares. */
function slope(points: readonly { readonly hours: number; readonly value: number }[]): string {
  const mean = (of: (point: { hours: number; value: number }) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [hours, value] = [mean((each) => each.hours), mean((each) => each.value)];
  const covariance = mean((each) => (each.hours - hours) * (each.value - value));
  const variance = mean((each) => (each.hours - hours) ** 2);
  return variance === 0 ? '0' : (covariance / variance).toFixed(1);
}
