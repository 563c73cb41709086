// When a process gives memory back: after work, not during it, and not for little.
import { expect, test } from 'vitest';
import { shrinkWhenQuiet } from '../../../src/cli/heap.ts';
import type { Clock } from '../../../src/clock.ts';

const MiB = 1024 * 1024;
const lookMs = 5000;

/** What happens between two looks. */
interface Span {
  /** CPU used, of one core. */
  readonly share: number;
  /** Resident in the end. */
  readonly rssMiB: number;
}

/** How often memory had been given back at the end of each span; 100 MiB stay then. */
async function shrinksAfter(...spans: readonly Span[]): Promise<readonly number[]> {
  const stop = new AbortController();
  const counts: number[] = [];
  let at = -1;
  let nowMs = 0;
  let cpuMs = 0;
  let rss = 0;
  let shrinks = 0;
  const clock: Clock = {
    now: () => nowMs,
    monotonic: () => nowMs,
    sleep: async (ms) => {
      if (at >= 0) counts.push(shrinks);
      const span = spans[++at];
      if (span === undefined) {
        stop.abort();
        return;
      }
      nowMs += ms;
      cpuMs += span.share * ms;
      rss = span.rssMiB * MiB;
      expect(ms).toBe(lookMs);
    },
  };
  await shrinkWhenQuiet(clock, stop.signal, {
    rssBytes: () => rss,
    cpuMs: () => cpuMs,
    shrink: () => {
      shrinks++;
      rss = 100 * MiB;
    },
  });
  return counts;
}

const busy = (rssMiB: number): Span => ({ share: 0.8, rssMiB });
const quiet = (rssMiB: number): Span => ({ share: 0.02, rssMiB });

test.each<[string, readonly Span[], readonly number[]]>([
  ['a start is over', [busy(120), quiet(125)], [0, 1]],
  ['work goes on', [busy(120), busy(200), busy(250)], [0, 0, 0]],
  ['nothing has grown since', [quiet(120), quiet(101), quiet(103)], [1, 1, 1]],
  ['a little has grown soon after', [quiet(120), quiet(105), quiet(110)], [1, 1, 1]],
  [
    'a little has grown by and by',
    [quiet(120), ...Array<Span>(121).fill(quiet(105))],
    [...Array<number>(120).fill(1), 2, 2],
  ],
  ['another burst is over', [quiet(120), busy(200), quiet(200), quiet(102)], [1, 1, 2, 2]],
])('%s', async (_, spans, expected) => {
  expect(await shrinksAfter(...spans)).toEqual(expected);
});
