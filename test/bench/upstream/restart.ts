import { pause, sizesOf } from './bench.ts';
import type { Bench, Part, Variant } from './bench.ts';
import { ChangeableService } from './changes.ts';
import { BenchNodes } from './nodes.ts';
import type { Side } from './nodes.ts';
import { askedServices } from './objects.ts';
import { isAnswer } from './poller.ts';
import { none, ratio } from './rows.ts';
import type { Figure, Target } from './rows.ts';
import { secondsFigure } from './start.ts';

/** What upstream's own proxy manages with nft tools in seconds rather than minutes. */
const upstreamNftServices = 1000;
/** Requests go on for that long after a change was seen: the first syncs of a new process follow each other. */
const afterMs = 4000;
const requests = { everyMs: 20, timeoutMs: 900 } as const;

/** Who had programmed the node, and who starts on it. */
interface Succession {
  readonly name: string;
  readonly before: Side;
  readonly after: Side;
  readonly node: Side;
}

const ownRestart: Succession = {
  name: 'restart',
  before: 'switchyard',
  after: 'switchyard',
  node: 'switchyard',
};
const upstreamRestart: Succession = {
  name: 'restart',
  before: 'upstream',
  after: 'upstream',
  node: 'upstream',
};
const takeOver: Succession = {
  name: "take-over from upstream's",
  before: 'upstream',
  after: 'switchyard',
  node: 'switchyard',
};

/** A change is written while no proxy runs; from the start of the next one until a client sees it. */
export const restartPart: Part = {
  title:
    'Restart over a programmed node → a change made meanwhile is seen (failed requests of all)',
  limitMinutes: 30,
  async run(bench) {
    for (const services of sizesOf(bench, 10_000)) {
      await restartRows(bench, services, 'legacy', true);
      await restartRows(bench, services, 'nft', bench.upstreamNft);
      if (!bench.upstreamNft) await restartRows(bench, upstreamNftServices, 'nft', true);
    }
  },
};

async function restartRows(
  bench: Bench,
  services: number,
  variant: Variant,
  hasUpstream: boolean,
): Promise<void> {
  let [own, upstream, over]: (Succeeded | undefined)[] = [];
  await BenchNodes.during(bench, { services, endpoints: 3 }, variant, async (nodes) => {
    if (hasUpstream) {
      upstream = await succeed(bench, nodes, upstreamRestart);
      // Each time over fresh rules of upstream's; with nft tools it needs minutes for them.
      for (let run = 0; run < (variant === 'nft' ? 1 : bench.runs); run++) {
        over = together(over, await succeed(bench, nodes, takeOver));
        await nodes.reset('switchyard');
      }
    }
    own = await succeed(bench, nodes, ownRestart);
  });
  const what = `${services} services, ${variant} tools`;
  const target = hasUpstream && services >= 10_000 ? ratio(0.6) : none;
  for (const [name, figures] of [
    [ownRestart.name, own],
    [takeOver.name, over],
  ] as const) {
    if (name === takeOver.name && !hasUpstream) continue;
    bench.row({
      what: `${what}, ${name}`,
      upstream: secondsOf(bench, upstream),
      own: secondsOf(bench, figures),
      target,
    });
    bench.row({
      what: `${what}, ${name}: failed requests`,
      upstream: failed(upstream),
      own: failed(figures),
      target: noneFailed,
    });
  }
}

const noneFailed: Target = { kind: 'limit', limit: 0, text: '0' };

interface Succeeded {
  readonly seconds: readonly number[];
  readonly requests: number;
  readonly failed: number;
}

/** One proxy programs the node and ends, another starts, `runs` times, all under steady requests. */
async function succeed(
  bench: Bench,
  nodes: BenchNodes,
  { before, after, node }: Succession,
): Promise<Succeeded | undefined> {
  const client = nodes.namespace(node, 'client');
  const first = await nodes.startAndWait(before, node);
  let running = first.process;
  if (first.seconds === undefined) {
    await running.crash();
    return undefined;
  }
  const others = askedServices(nodes.scale).map(({ clusterIP }) => clusterIP);
  const service = new ChangeableService(nodes, client, bench.signal, { ...requests, others });
  const seconds: number[] = [];
  let isStopped = false;
  try {
    await service.settle();
    // A take-over happens once: the next start would be over rules of our own.
    const runs = before === after ? bench.runs : 1;
    while (seconds.length < runs) {
      await pause(afterMs, bench.signal);
      await running.stop();
      await service.write();
      const { process, startedNs } = nodes.start(after, node);
      running = process;
      seconds.push(await service.seenAfter(startedNs));
      bench.progress(`${before} → ${after}: ${seconds.at(-1)?.toFixed(2)} s`);
    }
    await pause(afterMs, bench.signal);
    isStopped = true;
    const polled = await service.stop();
    const bad = polled.filter((each) => !isAnswer(each));
    if (bad.length > 0) bench.progress(`failed: ${JSON.stringify(bad.slice(0, 3))}`);
    return { seconds, requests: polled.length, failed: bad.length };
  } finally {
    if (!isStopped) await service.stop();
    await running.crash();
  }
}

function together(a: Succeeded | undefined, b: Succeeded | undefined): Succeeded | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return {
    seconds: [...a.seconds, ...b.seconds],
    requests: a.requests + b.requests,
    failed: a.failed + b.failed,
  };
}

function secondsOf(bench: Bench, figures: Succeeded | undefined): Figure | undefined {
  return figures && secondsFigure(figures.seconds, bench.startSeconds);
}

function failed(figures: Succeeded | undefined): Figure | undefined {
  if (figures === undefined) return undefined;
  return { value: figures.failed, text: `${figures.failed} of ${figures.requests}` };
}
