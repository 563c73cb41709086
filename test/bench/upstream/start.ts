import type { Bench, Part, Variant } from './bench.ts';
import { pause, sizesOf } from './bench.ts';
import { percentile } from './figures.ts';
import { BenchNodes } from './nodes.ts';
import type { Side } from './nodes.ts';
import { gaveUp, none, ratio, secondsLimit } from './rows.ts';
import type { Figure, Target } from './rows.ts';

/** The API server has to get over one start (tens of MB of lists) before the next, or that one pays for both. */
const settleMs = 5000;

/** From the start of the process on a node without rules until every asked service answers a client. */
export const startPart: Part = {
  title: 'Start → all asked services answer (median, range of the runs)',
  limitMinutes: 45,
  async run(bench) {
    for (const size of sizesOf(bench, 50, 10_000, 30_000)) {
      for (const variant of ['legacy', 'nft'] as const) await startRow(bench, size, variant);
    }
  },
};

async function startRow(bench: Bench, services: number, variant: Variant): Promise<void> {
  const hasUpstream = variant === 'legacy' || bench.upstreamNft || services <= 1000;
  const sides: readonly Side[] = hasUpstream ? ['switchyard', 'upstream'] : ['switchyard'];
  const seconds: Record<Side, (number | undefined)[]> = { switchyard: [], upstream: [] };
  await BenchNodes.during(bench, { services, endpoints: 3 }, variant, async (nodes) => {
    for (let run = 0; run < bench.runs; run++) {
      for (const side of run % 2 === 0 ? sides : sides.toReversed()) {
        if (seconds[side].includes(undefined)) continue; // given up once: minutes more would say the same
        const proxy = await nodes.startAndWait(side);
        seconds[side].push(proxy.seconds);
        bench.progress(`${side}: ${proxy.seconds?.toFixed(2) ?? 'not in time'}`);
        await proxy.process.crash();
        await nodes.reset(side);
        await pause(settleMs, bench.signal);
      }
    }
  });
  bench.row({
    what: `${services} services, ${variant} tools`,
    upstream: hasUpstream ? secondsFigure(seconds.upstream, bench.startSeconds) : undefined,
    own: secondsFigure(seconds.switchyard, bench.startSeconds),
    target: startTarget(services, variant),
  });
}

function startTarget(services: number, variant: Variant): Target {
  if (services < 10_000) return none;
  return services > 10_000 || variant === 'nft' ? secondsLimit(6) : ratio(0.6);
}

/** Median and range of some runs; the limit, where one was given up. */
export function secondsFigure(runs: readonly (number | undefined)[], limit: number): Figure {
  const known = runs.filter((run) => run !== undefined);
  if (known.length < runs.length) return gaveUp(limit);
  const median = percentile(known, 0.5);
  const range = `${Math.min(...known).toFixed(2)}–${Math.max(...known).toFixed(2)}`;
  return { value: median, text: `${median.toFixed(2)} s (${range})` };
}
