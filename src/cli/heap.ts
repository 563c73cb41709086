import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from '../clock.ts';
import type { Log } from '../telemetry/log.ts';

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
 * What to call, as often as one likes, when a process that carries bytes itself (userspace mode) has much to do: from then on
 * what is hot is compiled well, and young generations grow, so that fewer of what a connection needs for a moment is
 * looked at by the collector. An idle one needs neither; docs/performance.md has what it is worth.
 */
export function roomUnderLoad(log: Pick<Log, 'debug'>): () => void {
  let isMade = false;
  return () => {
    if (isMade) return;
    isMade = true;
    setFlagsFromString('--opt');
    setFlagsFromString('--semi-space-growth-factor=2');
    log.debug({}, 'much to do: V8 may use more memory from now on');
  };
}

/** Gives back what is garbage, and the pages it lay on. Stops the process for as long as it takes to look at all that lives. */
export function shrinkHeap(): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: object) => void;
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

/** How {@link shrinkNowAndThen} sees and treats the heap of its process. */
export interface HeapPorts {
  readonly clock: Clock;
  /** What V8 has taken for the heap, garbage included. */
  readonly size?: () => number;
  readonly shrink?: () => void;
}

const lookEveryMs = 30_000;
const smallestGrowthBytes = 6 * 1024 ** 2;
const growthShare = 0.25;

/**
 * Gives back what bursts of work leave behind: V8 itself would collect it only when a heap that may be several times as large is full.
 * Looks each half minute, and stops the process only where much has come since it was collected last. Until `signal`.
 */
export async function shrinkNowAndThen(
  { clock, size = heapSize, shrink = shrinkHeap }: HeapPorts,
  signal: AbortSignal,
): Promise<void> {
  let kept = 0;
  while (!signal.aborted) {
    await clock.sleep(lookEveryMs, signal);
    if (signal.aborted) return;
    if (size() - kept < Math.max(smallestGrowthBytes, kept * growthShare)) continue;
    shrink();
    kept = size();
  }
}

function heapSize(): number {
  return getHeapStatistics().total_heap_size;
}
