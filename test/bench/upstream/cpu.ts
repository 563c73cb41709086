import process from 'node:process';
import { pause, sizesOf } from './bench.ts';
import type { Bench, Part } from './bench.ts';
import { everyService, SteadyChanges } from './changes.ts';
import type { Memory } from './figures.ts';
import { cpuPercent } from './figures.ts';
import { mebibytes } from './memory.ts';
import { BenchNodes, memoryOf, ticksOf } from './nodes.ts';
import type { BySide, RunningProxy, Side } from './nodes.ts';
import { none } from './rows.ts';
import type { Figure, Target } from './rows.ts';

const settleMs = 10_000;
const perSecond = 10;

/** CPU time of the process and of the tools it runs, over some time in which endpoints change steadily. */
export const cpuPart: Part = {
  title: `CPU at ${perSecond} endpoint changes a second: process and its tools, of one core`,
  limitMinutes: 15,
  async run(bench) {
    for (const services of sizesOf(bench, 10_000, 30_000)) {
      for (const variant of ['legacy', 'nft'] as const) {
        const hasUpstream = variant === 'legacy' || bench.upstreamNft;
        const seen: BySide<Spent> = {};
        await BenchNodes.during(bench, { services, endpoints: 3 }, variant, async (nodes) => {
          if (hasUpstream) seen.upstream = await measure(bench, nodes, 'upstream');
          seen.switchyard = await measure(bench, nodes, 'switchyard');
        });
        rows(bench, `${services} services, ${variant} tools`, services, seen);
      }
    }
  },
};

function rows(
  bench: Bench,
  what: string,
  services: number,
  { switchyard: own, upstream }: BySide<Spent>,
): void {
  bench.row({
    what,
    upstream: percent(upstream?.busy),
    own: percent(own?.busy),
    target: services === 10_000 ? percentLimit(15) : none,
  });
  bench.row({
    what: `${what}, no changes`,
    upstream: percent(upstream?.idle),
    own: percent(own?.idle),
    target: none,
  });
  bench.row({
    what: `${what}, resident after the changes`,
    upstream: mebibytes(upstream?.after.residentMiB),
    own: mebibytes(own?.after.residentMiB),
    target: none,
  });
}

interface Spent {
  readonly busy: number;
  readonly idle: number;
  readonly after: Memory;
}

async function measure(bench: Bench, nodes: BenchNodes, side: Side): Promise<Spent | undefined> {
  const proxy = await nodes.startAndWait(side);
  try {
    if (proxy.seconds === undefined) return undefined;
    await pause(settleMs, bench.signal);
    const idle = await spent(bench, proxy, bench.cpuSeconds / 2);
    const busy = await spentWhile(
      bench,
      proxy,
      new SteadyChanges(nodes, perSecond, everyService(nodes)),
    );
    return { busy, idle, after: memoryOf(proxy) };
  } finally {
    await proxy.process.crash();
  }
}

/** Percent of a core while changes are written; the changes end with it. */
export async function spentWhile(
  bench: Bench,
  proxy: RunningProxy,
  changes: SteadyChanges,
): Promise<number> {
  let written = 0;
  try {
    await pause(2000, bench.signal); // its first change comes after quiet, and counts for little
    return await spent(bench, proxy, bench.cpuSeconds);
  } finally {
    written = await changes.stop();
    bench.progress(`${written} changes written`);
  }
}

async function spent(bench: Bench, proxy: RunningProxy, seconds: number): Promise<number> {
  const [before, began] = [ticksOf(proxy), process.hrtime.bigint()];
  await pause(seconds * 1000, bench.signal);
  return cpuPercent(before, ticksOf(proxy), Number(process.hrtime.bigint() - began) / 1e9);
}

export function percent(value: number | undefined): Figure | undefined {
  return value === undefined ? undefined : { value, text: `${value.toFixed(1)} %` };
}

export function percentLimit(limit: number): Target {
  return { kind: 'limit', limit, text: `${limit} %` };
}
