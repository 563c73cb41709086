import { pause, sizesOf } from './bench.ts';
import type { Bench, Part } from './bench.ts';
import type { Memory } from './figures.ts';
import { BenchNodes, memoryOf } from './nodes.ts';
import type { BySide, Side } from './nodes.ts';
import { none, ratio } from './rows.ts';
import type { Figure, Target } from './rows.ts';

/** Both runtimes give memory back some time after they have used it. */
const settleMs = 20_000;

/** Resident memory of the process alone: the tools it runs are short-lived and the same for both. */
export const memoryPart: Part = {
  title: `Resident memory: ${settleMs / 1000} s after everything answers, and the peak until then`,
  limitMinutes: 15,
  async run(bench) {
    for (const services of sizesOf(bench, 50, 10_000, 30_000)) {
      const seen: BySide<Memory> = {};
      await BenchNodes.during(bench, { services, endpoints: 3 }, 'legacy', async (nodes) => {
        for (const side of ['upstream', 'switchyard'] as const) {
          seen[side] = await memoryAfterStart(bench, nodes, side);
        }
      });
      const { switchyard: own, upstream } = seen;
      bench.row({
        what: `${services} services, resident`,
        upstream: mebibytes(upstream?.residentMiB),
        own: mebibytes(own?.residentMiB),
        target: services === 50 ? megabyteLimit(90) : residentTarget(services),
      });
      bench.row({
        what: `${services} services, peak`,
        upstream: mebibytes(upstream?.peakMiB),
        own: mebibytes(own?.peakMiB),
        target: residentTarget(services),
      });
    }
  },
};

async function memoryAfterStart(
  bench: Bench,
  nodes: BenchNodes,
  side: Side,
): Promise<Memory | undefined> {
  const proxy = await nodes.startAndWait(side);
  try {
    if (proxy.seconds === undefined) return undefined;
    await pause(settleMs, bench.signal);
    return memoryOf(proxy);
  } finally {
    await proxy.process.crash();
  }
}

function residentTarget(services: number): Target {
  return services === 10_000 ? ratio(0.7) : none;
}

export function megabyteLimit(limit: number): Target {
  return { kind: 'limit', limit, text: `${limit} MiB` };
}

export function mebibytes(value: number | undefined): Figure | undefined {
  return value === undefined ? undefined : { value, text: `${value.toFixed(0)} MiB` };
}
