import process from 'node:process';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '../clock.ts';

/**
 * Sets V8 for a process that lives for months and does little: the young generation stays as small as it
 * starts, where the first lists would make it grow to 32 MB and more for good, and the last stage of the compiler,
 * whose own code and work space cost more than it saves here, is left out. Unlike --max-semi-space-size,
 * these flags count whenever they are set. docs/adr/0006-memory.md has the figures.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--no-opt');
}

/**
 * Leaves out the compiler before the last, too: for the kubelet, which does a little of very much, and that in bursts. What it compiles for
 * 100 pods takes 8 MiB and more time than it saves. A proxy that computes rules of thousands of Services needs it.
 */
export function compileLittle(): void {
  setFlagsFromString('--no-maglev');
}

/** Gives back what is garbage, and the pages it lay on. Stops the process for as long as it takes to look at all that lives. */
export function shrinkHeap(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: object) => void;
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

/** What a process needs to know of itself to choose the moment. */
export interface OwnProcess {
  /** Resident memory. */
  readonly rssBytes: () => number;
  /** CPU time used so far, by all threads. */
  readonly cpuMs: () => number;
  /** Gives memory back, as {@link shrinkHeap} does. */
  readonly shrink: () => void;
}

const lookEveryMs = 5000;
/** Busier than that, of one core, it would soon have as much garbage again. */
const quietShare = 0.2;
/** For less the whole heap is not looked at; */
const worthBytes = 4 * 1024 * 1024;
/** so soon after the last time not for less than this: each look takes a tenth of a second, and probes alone come to the other within a minute. */
const worthSoonBytes = 16 * 1024 * 1024;
const soonMs = 600_000;

/**
 * For a process that has much to do at times and little in between: when such a time is over and memory has grown, gives back what is
 * garbage, which V8 alone would keep until it is needed again. Until `signal` aborts.
 */
export async function shrinkWhenQuiet(
  clock: Clock,
  signal: AbortSignal,
  { rssBytes, cpuMs, shrink }: OwnProcess = thisProcess,
): Promise<void> {
  let leastBytes = 0;
  let shrankAtMs = Number.NEGATIVE_INFINITY;
  let usedMs = cpuMs();
  let lookedAtMs = clock.monotonic();
  while (!signal.aborted) {
    await clock.sleep(lookEveryMs, signal);
    if (signal.aborted) return;
    const share = (cpuMs() - usedMs) / (clock.monotonic() - lookedAtMs);
    const worth = clock.monotonic() - shrankAtMs < soonMs ? worthSoonBytes : worthBytes;
    if (share < quietShare && rssBytes() > leastBytes + worth) {
      shrink();
      leastBytes = rssBytes();
      shrankAtMs = clock.monotonic();
    }
    usedMs = cpuMs();
    lookedAtMs = clock.monotonic();
  }
}

const thisProcess: OwnProcess = {
  rssBytes: () => process.memoryUsage.rss(),
  cpuMs: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  shrink: shrinkHeap,
};
