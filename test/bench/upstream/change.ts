import { pause, sizesOf } from './bench.ts';
import type { Bench, Part } from './bench.ts';
import { ChangeableService, everyService, SteadyChanges } from './changes.ts';
import { percentile } from './figures.ts';
import { BenchNodes } from './nodes.ts';
import type { BySide, Side } from './nodes.ts';
import { none, secondsLimit } from './rows.ts';
import type { Figure } from './rows.ts';

const changes = 8;
const gapMs = { quiet: 4300, steady: 2300 } as const;
/**
 * Proxies sync once a second, and a change is seen when a sync has just ended: with equal gaps all changes would meet the
 * same moment of that rhythm. Multiples of the golden ratio come at all.
 */
const goldenRatio = 0.618_034;
const perSecond = 10;

/** From the request that replaces a service's only pod until a client is answered by the new one. */
export const changePart: Part = {
  title: `One change until a client sees it (median, worst of ${changes})`,
  limitMinutes: 15,
  async run(bench) {
    for (const services of sizesOf(bench, 10_000, 30_000)) {
      for (const variant of ['legacy', 'nft'] as const) {
        const hasUpstream = variant === 'legacy' || bench.upstreamNft;
        const seen: BySide<Seen> = {};
        await BenchNodes.during(bench, { services, endpoints: 3 }, variant, async (nodes) => {
          if (hasUpstream) seen.upstream = await measure(bench, nodes, 'upstream');
          seen.switchyard = await measure(bench, nodes, 'switchyard');
        });
        const { switchyard: own, upstream } = seen;
        for (const [when, kind] of [
          ['after quiet', 'quiet'],
          [`under ${perSecond} other changes a second`, 'steady'],
        ] as const) {
          bench.row({
            what: `${services} services, ${variant} tools, ${when}`,
            upstream: seenFigure(upstream?.[kind]),
            own: seenFigure(own?.[kind]),
            target: services === 10_000 && kind === 'quiet' ? secondsLimit(0.2) : none,
          });
        }
      }
    }
  },
};

interface Seen {
  readonly quiet: readonly number[];
  readonly steady: readonly number[];
}

async function measure(bench: Bench, nodes: BenchNodes, side: Side): Promise<Seen | undefined> {
  const proxy = await nodes.startAndWait(side);
  const service = new ChangeableService(nodes, nodes.namespace(side, 'client'), bench.signal);
  try {
    if (proxy.seconds === undefined) return undefined;
    await service.settle();
    const quiet = await times(bench, service, gapMs.quiet);
    const others = new SteadyChanges(nodes, perSecond, everyService(nodes));
    try {
      return { quiet, steady: await times(bench, service, gapMs.steady) };
    } finally {
      await others.stop();
    }
  } finally {
    await service.stop();
    await proxy.process.crash();
  }
}

/** How long some changes took, one after the other. */
export async function times(
  { signal }: Bench,
  service: ChangeableService,
  everyMs: number,
  count = changes,
): Promise<readonly number[]> {
  const seconds: number[] = [];
  while (seconds.length < count) {
    await pause(everyMs + 1000 * ((seconds.length * goldenRatio) % 1), signal);
    seconds.push(await service.change());
  }
  return seconds;
}

/** Median and worst; a target counts for the worst. */
export function seenFigure(seconds: readonly number[] | undefined): Figure | undefined {
  if (seconds === undefined) return undefined;
  const worst = Math.max(...seconds);
  const text = `${percentile(seconds, 0.5).toFixed(2)} s, worst ${worst.toFixed(2)} s`;
  return { value: worst, text };
}
