import { describe, expect, it } from 'vitest';
import { SyncRunner } from '../../../src/proxy/sync-runner.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { VirtualClock, settle } from './virtual-clock.ts';

/** A runner whose syncs take `syncMs` and fail while `failures` is above 0. */
class Rig {
  readonly clock = new VirtualClock();
  readonly startsMs: number[] = [];
  readonly stop = new AbortController();
  syncMs = 0;
  failures = 0;
  running = 0;
  abandoned = false;
  readonly runner: SyncRunner;
  readonly done: Promise<void>;

  constructor(minIntervalMs = 1000) {
    this.runner = new SyncRunner({
      sync: async (signal) => this.#sync(signal),
      clock: this.clock,
      log: silentLog,
      minIntervalMs,
      retryIntervalMs: 30_000,
      maxIntervalMs: 3_600_000,
    });
    this.done = this.runner.run(this.stop.signal);
  }

  async #sync(signal: AbortSignal): Promise<void> {
    this.startsMs.push(this.clock.now());
    this.running++;
    await this.clock.sleep(this.syncMs, signal);
    this.running--;
    this.abandoned ||= signal.aborted;
    if (this.failures-- > 0) throw new Error('restore failed');
  }
}

describe('the sync runner', () => {
  it('runs nothing before it is asked, however long that takes', async () => {
    const { clock, startsMs, runner } = new Rig();
    await clock.advance(10 * 3_600_000);
    expect(startsMs).toEqual([]);
    runner.request();
    await clock.advance(0);
    expect(startsMs).toEqual([36_000_000]);
  });

  it('makes two runs of 100 requests within 10 ms: one at once, one after the least interval', async () => {
    const { clock, startsMs, runner } = new Rig();
    for (let i = 0; i < 100; i++) {
      runner.request();
      await clock.advance(0.1);
    }
    await clock.advance(10_000);
    expect(startsMs).toHaveLength(2);
    expect(startsMs[0]).toBe(0);
    expect(startsMs[1]).toBe(1000);
  });

  it('counts the least interval from the end of a run', async () => {
    const rig = new Rig();
    rig.syncMs = 400;
    rig.runner.request();
    await rig.clock.advance(100);
    rig.runner.request();
    await rig.clock.advance(5000);
    expect(rig.startsMs).toEqual([0, 1400]);
  });

  it.each([
    [20, [0, 200, 400, 600, 800]],
    [700, [0, 2700]],
  ])(
    'rests nine times as long as a run of %d ms took, two seconds at most, where no least interval is set',
    async (syncMs, startsMs) => {
      const rig = new Rig(0);
      rig.syncMs = syncMs;
      for (let ms = 0; ms < 3000 && rig.startsMs.length < startsMs.length; ms += 5) {
        rig.runner.request();
        await rig.clock.advance(5);
      }
      expect(rig.startsMs).toEqual(startsMs);
    },
  );

  it('runs at once after a quiet time', async () => {
    const { clock, startsMs, runner } = new Rig();
    runner.request();
    await clock.advance(7000);
    runner.request();
    await clock.advance(0);
    expect(startsMs).toEqual([0, 7000]);
  });

  it('repeats a failed run with back-off, never later than the retry interval', async () => {
    const rig = new Rig();
    rig.failures = 7;
    rig.runner.request();
    await rig.clock.advance(200_000);
    const gaps = rig.startsMs.slice(1).map((ms, i) => ms - (rig.startsMs[i] ?? 0));
    expect(gaps).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  });

  it('starts the back-off anew after a success', async () => {
    const rig = new Rig();
    rig.failures = 3;
    rig.runner.request();
    await rig.clock.advance(60_000);
    rig.failures = 1;
    rig.runner.request();
    await rig.clock.advance(60_000);
    expect(rig.startsMs.slice(-2)).toEqual([60_000, 61_000]);
  });

  it('runs once an hour without any request', async () => {
    const { clock, startsMs, runner } = new Rig();
    runner.request();
    await clock.advance(2 * 3_600_000);
    expect(startsMs).toEqual([0, 3_600_000, 7_200_000]);
  });

  it.each([-3_600_000, 3_600_000])('does not care when the date is set by %i ms', async (byMs) => {
    const rig = new Rig();
    rig.failures = 1;
    rig.runner.request();
    await rig.clock.advance(100);
    rig.clock.setDate(byMs);
    await rig.clock.advance(5000);
    expect(rig.startsMs).toHaveLength(2);
    rig.runner.request();
    await rig.clock.advance(0);
    rig.clock.setDate(byMs);
    await rig.clock.advance(600_000);
    expect(rig.startsMs).toHaveLength(3);
  });

  it('makes up for no missed run after a time of standstill', async () => {
    const rig = new Rig();
    rig.runner.request();
    await rig.clock.advance(100);
    rig.runner.request();
    await rig.clock.standStill(60_000);
    expect(rig.startsMs).toEqual([0, 60_100]);
    await rig.clock.standStill(3 * 3_600_000);
    await rig.clock.advance(60_000);
    expect(rig.startsMs).toHaveLength(3);
  });

  it('waits for the running sync when it is stopped', async () => {
    const rig = new Rig();
    rig.syncMs = 500;
    rig.runner.request();
    await rig.clock.advance(100);
    rig.stop.abort();
    let ended = false;
    void rig.done.then(() => (ended = true));
    await settle();
    expect([ended, rig.running]).toEqual([false, 1]);
    await rig.clock.advance(400);
    expect([ended, rig.running, rig.abandoned]).toEqual([true, 0, false]);
  });

  it('tells a sync that hangs after stop to give up', async () => {
    const rig = new Rig();
    rig.syncMs = 3_600_000;
    rig.runner.request();
    await rig.clock.advance(100);
    rig.stop.abort();
    await rig.clock.advance(10_000);
    await rig.done;
    expect(rig.abandoned).toBe(true);
  });

  it('stops at once when it is idle', async () => {
    const rig = new Rig();
    rig.stop.abort();
    await rig.done;
    expect(rig.startsMs).toEqual([]);
  });
});
