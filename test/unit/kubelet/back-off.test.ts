import { expect, test } from 'vitest';

import { BackOff } from '../../../src/kubelet/back-off.ts';

/** Delays of a key that fails again and again. */

test('the first retry is at once, then 10, 20, 40 … up to 300 seconds after each end', () => {
  let nowMs = 1_000_000;
  const backOff = new BackOff({ now: () => nowMs });
  const delays: number[] = [];
  for (let restart = 0; restart < 8; restart += 1) {
    const endedMs = nowMs;
    const waits = backOff.waits('k', endedMs);
    delays.push((waits?.delayMs ?? 0) / 1000);
    nowMs = waits?.untilMs ?? nowMs;
    expect(backOff.waits('k', endedMs)).toBeUndefined();
    backOff.next('k', endedMs);
  }
  expect(delays).toEqual([0, 10, 20, 40, 80, 160, 300, 300]);
});

test('one that ran for over ten minutes begins anew', () => {
  let nowMs = 0;
  const backOff = new BackOff({ now: () => nowMs });
  for (let n = 0; n < 7; n += 1) backOff.next('k', nowMs);
  nowMs += 600_000;
  expect(backOff.waits('k', nowMs)?.delayMs).toBe(300_000);
  nowMs += 1000;
  expect(backOff.waits('k', nowMs)).toBeUndefined();
  backOff.next('k', nowMs);
  expect(backOff.waits('k', nowMs)?.delayMs).toBe(10_000);
});

test('keys are apart, the longest delay can be lowered, and a pod can be forgotten', () => {
  const backOff = new BackOff({ now: () => 0 }, { longestMs: 1000 });
  backOff.next('u1/a', 0);
  backOff.next('u2/a', 0);
  expect(backOff.waits('u1/a', 0)).toEqual({ untilMs: 1000, delayMs: 1000 });
  expect(backOff.waits('u1/b', 0)).toBeUndefined();
  backOff.forget('u1/');
  expect(backOff.waits('u1/a', 0)).toBeUndefined();
  expect(backOff.waits('u2/a', 0)).toBeDefined();
});
