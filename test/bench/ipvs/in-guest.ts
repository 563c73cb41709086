// The part of `npm run bench:ipvs` that runs in the guest, where clocks and processes are those that are measured.
// usage: in-guest.ts SERVICES ENDPOINTS CPU-SECONDS CHANGES [SIDE]
import process from 'node:process';
import { createTwinNode } from '../../cluster/twin-nodes.ts';
import { upstreamCommand } from '../../cluster/upstream-proxy.ts';
import { proxyCommand } from '../../support/agent-process.ts';
import { GuestTwins } from '../../vm/guest-twins.ts';
import { pause } from '../upstream/bench.ts';
import type { Bench } from '../upstream/bench.ts';
import { ChangeableService, everyService, SteadyChanges } from '../upstream/changes.ts';
import { seenFigure, times } from '../upstream/change.ts';
import { percent } from '../upstream/cpu.ts';
import { cpuPercent } from '../upstream/figures.ts';
import { BenchNodes, memoryOf, startPods, ticksOf } from '../upstream/nodes.ts';
import type { BySide, RunningProxy, Side } from '../upstream/nodes.ts';
import { mebibytes } from '../upstream/memory.ts';
import { cells, gaveUp, head, none, ratio } from '../upstream/rows.ts';
import type { Figure, Row } from '../upstream/rows.ts';
import { printTable } from '../table.ts';
import { headlessChanges, makeHeadless } from './headless.ts';
import { countsText, totalOf, ToolRuns } from './tool-runs.ts';
import type { ToolCounts } from './tool-runs.ts';

const [services = 0, endpoints = 0, cpuSeconds = 0, changes = 0] = process.argv
  .slice(2, 6)
  .map(Number);
const only = process.argv[6] ?? '';
const perSecond = { endpoints: 5, headless: 10 } as const;
/** Two periods of upstream's syncs without a reason. */
const idleSeconds = 62;
const settleMs = 10_000;
const changeGapMs = 3000;
/** Asking takes CPU time, of which there is little here. */
const polls = {
  start: { everyMs: 500, timeoutMs: 3000, firstPort: 10_000 },
  change: { everyMs: 100, timeoutMs: 3000 },
} as const;

/** CPU time, and the programs that were started meanwhile. */
interface Spent {
  readonly percent: number;
  readonly tools: ToolCounts;
}

interface Measured {
  readonly answers: number | undefined;
  readonly synced: number | undefined;
  readonly startTools: ToolCounts;
  readonly idle: Spent;
  readonly headless: Spent;
  readonly seen: readonly number[];
  readonly busy: Spent;
  readonly residentMiB: number;
}

const began = Date.now();
const bench: Bench = {
  bundle: '',
  sizes: [services],
  runs: 1,
  cpuSeconds,
  startSeconds: 240,
  upstreamNft: false,
  signal: new AbortController().signal,
  row: () => {},
  progress,
};
await main();
// Pods' servers end with the guest.
process.exit();

async function main(): Promise<void> {
  const kubeconfig = process.env['SWITCHYARD_VM_KUBECONFIG'] ?? '';
  const tools = await ToolRuns.open();
  const twins = await GuestTwins.create(kubeconfig);
  await createTwinNode(twins.plane);
  for (const lab of Object.values(twins.labs)) startPods(lab);
  progress('both nodes stand');
  const scale = { services, endpoints };
  const commands = { switchyard: proxyCommand(), upstream: upstreamCommand('ipvs') };
  const nodes = new BenchNodes(twins, scale, bench, {
    variant: 'nft',
    commands,
    poll: polls.start,
  });
  await makeHeadless(nodes);
  const seen: BySide<Measured> = {};
  for (const side of ['upstream', 'switchyard'] as const) {
    if (only !== '' && only !== side) continue;
    seen[side] = await measure(nodes, side, tools);
  }
  const title = `ipvs mode, ${services} services of ${endpoints} endpoints, in the virtual machine`;
  printTable(title, head, rows(seen).map(cells));
  await twins.close();
}

async function measure(nodes: BenchNodes, side: Side, tools: ToolRuns): Promise<Measured> {
  const startedAt = Date.now() / 1000;
  const [[proxy, synced], startTools] = await tools.during(async () => {
    const running = await nodes.startAndWait(side);
    progress(
      `${side}: answers after ${running.seconds?.toFixed(1) ?? `more than ${bench.startSeconds}`} s`,
    );
    if (running.seconds === undefined) progress(running.process.log.slice(-4000));
    const at = await firstSync(nodes, side);
    return [running, at === undefined ? undefined : at - startedAt] as const;
  });
  const say = (text: string): void => progress(`${side}: ${text}`);
  say(`synced after ${synced?.toFixed(1) ?? `more than ${bench.startSeconds}`} s`);
  say(`CPU until then ${(ticksOf(proxy) / 100).toFixed(1)} s; tools: ${countsText(startTools)}`);
  try {
    await pause(settleMs, bench.signal);
    const spent = async (what: string, seconds: number): Promise<Spent> => {
      const result = await spentIn(proxy, tools, seconds);
      say(`${what}: ${result.percent.toFixed(1)} %; tools: ${countsText(result.tools)}`);
      return result;
    };
    const whileChanging = async (what: string, steady: SteadyChanges): Promise<Spent> => {
      try {
        await pause(3000, bench.signal); // its first change comes after quiet, and counts for little
        return await spent(what, cpuSeconds);
      } finally {
        say(`${await steady.stop()} changes written`);
      }
    };
    const idle = await spent('no changes', idleSeconds);
    const headless = await whileChanging('headless', headlessChanges(nodes, perSecond.headless));
    const seen = await changesSeen(nodes, side);
    say(`changes seen after ${seen.map((each) => each.toFixed(2)).join(', ')} s`);
    await pause(settleMs, bench.signal);
    const steady = new SteadyChanges(nodes, perSecond.endpoints, everyService(nodes));
    const busy = await whileChanging('endpoint changes', steady);
    const { residentMiB } = memoryOf(proxy);
    return { answers: proxy.seconds, synced, startTools, idle, headless, seen, busy, residentMiB };
  } finally {
    await proxy.process.crash();
    // A table beside another namespace's is read differently, and slower: each has the machine to itself.
    await nodes.twins.labs[side].onNode('ipvsadm', '--clear');
  }
}

/**
 * When the first sync of IPv4 had ended, as the proxy itself says: a time of the clock in seconds. undefined: not within
 * the time that a start has.
 */
async function firstSync(nodes: BenchNodes, side: Side): Promise<number | undefined> {
  const name =
    /^kubeproxy_sync_proxy_rules_last_timestamp_seconds(?:\{ip_family="IPv4"\})? (\S+)$/m;
  const lab = nodes.twins.labs[side];
  const deadline = Date.now() + bench.startSeconds * 1000;
  while (Date.now() < deadline) {
    const { status, body } = await lab.get('node', 'http://127.0.0.1:10249/metrics');
    if (status !== 200) progress(`${side}: the metrics cannot be read: ${status} ${body}`);
    const seconds = Number(name.exec(body)?.[1] ?? 0);
    if (seconds > 0) return seconds;
    await pause(1000, bench.signal);
  }
  return undefined;
}

async function spentIn(proxy: RunningProxy, runs: ToolRuns, seconds: number): Promise<Spent> {
  const [share, tools] = await runs.during(async () => {
    const [before, start] = [ticksOf(proxy), process.hrtime.bigint()];
    await pause(seconds * 1000, bench.signal);
    return cpuPercent(before, ticksOf(proxy), Number(process.hrtime.bigint() - start) / 1e9);
  });
  return { percent: share, tools };
}

async function changesSeen(nodes: BenchNodes, side: Side): Promise<readonly number[]> {
  const client = nodes.namespace(side, 'client');
  const service = new ChangeableService(nodes, client, bench.signal, polls.change);
  try {
    await service.settle();
    return await times(bench, service, changeGapMs, changes);
  } finally {
    await service.stop();
  }
}

function rows({ upstream, switchyard: own }: BySide<Measured>): readonly Row[] {
  const both = (of: (each: Measured) => Figure | undefined) => ({
    upstream: upstream && of(upstream),
    own: own && of(own),
  });
  return [
    {
      what: 'start → all asked services answer',
      ...both(({ answers }) => secondsFigure(answers)),
      target: ratio(0.5),
    },
    {
      what: 'start → first sync is over',
      ...both(({ synced }) => secondsFigure(synced)),
      target: ratio(0.5),
    },
    {
      what: 'programs started until then',
      ...both(({ startTools }) => countFigure(startTools)),
      target: none,
    },
    {
      what: `one change until a client sees it (median, worst of ${changes})`,
      ...both(({ seen }) => seenFigure(seen)),
      target: ratio(0.25),
    },
    { what: 'CPU without changes', ...both(({ idle }) => percent(idle.percent)), target: none },
    {
      what: `programs started in ${idleSeconds} s of that`,
      ...both(({ idle }) => countFigure(idle.tools)),
      target: { kind: 'limit', limit: 0, text: '0' },
    },
    {
      what: `CPU at ${perSecond.headless} changes a second of headless Services`,
      ...both(({ headless }) => percent(headless.percent)),
      target: none,
    },
    {
      what: `programs started in ${cpuSeconds} s of that`,
      ...both(({ headless }) => countFigure(headless.tools)),
      target: { kind: 'limit', limit: 0, text: '0' },
    },
    {
      what: `CPU at ${perSecond.endpoints} endpoint changes a second`,
      ...both(({ busy }) => percent(busy.percent)),
      target: ratio(0.3),
    },
    {
      what: `programs started in ${cpuSeconds} s of that`,
      ...both(({ busy }) => countFigure(busy.tools)),
      target: none,
    },
    {
      what: 'resident in the end',
      ...both(({ residentMiB }) => mebibytes(residentMiB)),
      target: none,
    },
  ];
}

function secondsFigure(value: number | undefined): Figure {
  return value === undefined
    ? gaveUp(bench.startSeconds)
    : { value, text: `${value.toFixed(1)} s` };
}

function countFigure(counts: ToolCounts): Figure {
  const value = totalOf(counts);
  return { value, text: String(value) };
}

function progress(text: string): void {
  process.stdout.write(`[${Math.round((Date.now() - began) / 1000)} s] ${text}\n`);
}
