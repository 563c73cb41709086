import { describe, expect, it } from 'vitest';
import { Counters, fieldsPerWorker, sumOf } from '../../../src/relay/counters.ts';
import { SharedSlots } from '../../../src/relay/shared-slots.ts';

describe('slots of shared memory', () => {
  it('are seen by whoever has the blocks, and are zero when they are taken anew', () => {
    const own = new SharedSlots(64);
    const slots = Array.from({ length: 2000 }, () => own.take());
    expect(new Set(slots).size).toBe(2000);
    const other = new SharedSlots(64, own.blocks);
    const last = slots.at(-1) ?? 0;
    Atomics.add(own.integers(last), 0, 7);
    expect(other.integers(last)[0]).toBe(7);
    expect(other.integers(last - 1)[0]).toBe(0);
    own.giveBack(last);
    expect(own.take()).toBe(last);
    expect(other.integers(last)[0]).toBe(0);
    expect(own.blocks).toHaveLength(2);
  });
});

describe('counters', () => {
  it('of a listener are the sum of what its workers have counted', () => {
    const slot = new Float64Array(3 * fieldsPerWorker);
    const workers = [0, 1, 2].map((worker) => new Counters(() => slot, worker));
    workers[0]?.add('connections');
    workers[2]?.add('connections', 2);
    workers[1]?.add('bytesIn', 2 ** 40);
    workers[2]?.add('bytesIn');
    workers[1]?.failedDial('timeout');
    expect(sumOf(slot)).toEqual({
      connections: 3,
      active: 0,
      bytesIn: 2 ** 40 + 1,
      bytesOut: 0,
      dialFailures: { refused: 0, timeout: 1, unreachable: 0, reset: 0, files: 0, other: 0 },
      retries: 0,
      refused: 0,
      evicted: 0,
    });
  });
});
