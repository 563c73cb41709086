import { pause, sizesOf } from './bench.ts';
import type { Bench, Part } from './bench.ts';
import { seenFigure, times } from './change.ts';
import { ChangeableService } from './changes.ts';
import type { Memory } from './figures.ts';
import { mebibytes, megabyteLimit } from './memory.ts';
import { BenchNodes, memoryOf } from './nodes.ts';
import type { BySide, Side } from './nodes.ts';
import { none, secondsLimit } from './rows.ts';
import { secondsFigure } from './start.ts';

const scale = { services: 5000, endpoints: 50 } as const;
const changes = 5;
const gapMs = 4300;
const settleMs = 20_000;

/** Few services, many endpoints. */
export const bigPart: Part = {
  title: `${scale.services} services, ${scale.services * scale.endpoints} endpoints (legacy tools)`,
  limitMinutes: 20,
  async run(bench) {
    if (sizesOf(bench, 10_000).length === 0) return;
    const seen: BySide<Seen> = {};
    await BenchNodes.during(bench, scale, 'legacy', async (nodes) => {
      seen.switchyard = await measure(bench, nodes, 'switchyard');
      seen.upstream = await measure(bench, nodes, 'upstream');
    });
    const { switchyard: own, upstream } = seen;
    const started = (side: Seen | undefined) =>
      side && secondsFigure([side.started], bench.startSeconds);
    bench.row({
      what: 'start → all asked services answer',
      upstream: started(upstream),
      own: started(own),
      target: secondsLimit(30),
    });
    bench.row({
      what: `one change until a client sees it (median, worst of ${changes})`,
      upstream: seenFigure(upstream?.changes),
      own: seenFigure(own?.changes),
      target: secondsLimit(1),
    });
    for (const [name, field] of [
      ['resident', 'residentMiB'],
      ['peak', 'peakMiB'],
    ] as const) {
      bench.row({
        what: name,
        upstream: mebibytes(upstream?.memory?.[field]),
        own: mebibytes(own?.memory?.[field]),
        target: name === 'resident' ? megabyteLimit(600) : none,
      });
    }
  },
};

interface Seen {
  readonly started: number | undefined;
  readonly changes: readonly number[] | undefined;
  readonly memory: Memory | undefined;
}

async function measure(bench: Bench, nodes: BenchNodes, side: Side): Promise<Seen> {
  const proxy = await nodes.startAndWait(side);
  bench.progress(`${side}: ${proxy.seconds?.toFixed(1) ?? 'not in time'}`);
  const { seconds: started } = proxy;
  if (started === undefined) {
    await proxy.process.crash();
    return { started, changes: undefined, memory: undefined };
  }
  const service = new ChangeableService(nodes, nodes.namespace(side, 'client'), bench.signal);
  try {
    await service.settle();
    await pause(settleMs, bench.signal);
    const memory = memoryOf(proxy);
    return { started, changes: await times(bench, service, gapMs, changes), memory };
  } finally {
    await service.stop();
    await proxy.process.crash();
  }
}
