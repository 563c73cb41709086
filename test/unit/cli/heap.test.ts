// When the heap of a process that lives for months is collected.
import { expect, it } from 'vitest';
import { shrinkNowAndThen } from '../../../src/cli/heap.ts';
import { VirtualClock } from '../proxy/virtual-clock.ts';

const mib = 1024 ** 2;

it('collects where much has come since the last time, and not else', async () => {
  const clock = new VirtualClock();
  const stop = new AbortController();
  let [size, kept, times] = [30, 20, 0];
  const shrink = (): void => {
    times++;
    size = kept;
  };
  const done = shrinkNowAndThen({ clock, size: () => size * mib, shrink }, stop.signal);
  expect(times).toBe(0);
  await clock.advance(30_000);
  expect(times).toBe(1);
  size = 25;
  await clock.advance(30_000);
  expect(times).toBe(1);
  size = 26;
  await clock.advance(30_000);
  expect(times).toBe(2);
  // of a large heap a larger part has to be worth the stop
  [size, kept] = [100, 100];
  await clock.advance(30_000);
  size = 124;
  await clock.advance(30_000);
  expect(times).toBe(3);
  size = 125;
  await clock.advance(30_000);
  expect(times).toBe(4);
  stop.abort();
  await done;
});
