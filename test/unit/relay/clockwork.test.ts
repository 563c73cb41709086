import { describe, expect, it, vi } from 'vitest';
import type { Address } from '../../../src/ip/address.ts';
import type { Cidr } from '../../../src/ip/cidr.ts';
import { systemAfter } from '../../../src/relay/dialer.ts';
import { Drains } from '../../../src/relay/drains.ts';
import type { ListenerKey } from '../../../src/relay/relay.ts';
import { Report } from '../../../src/relay/report.ts';
import { sourceTest } from '../../../src/relay/sources.ts';
import { fewTimers } from '../../../src/relay/timeouts.ts';

/** A clock that stands still until it is moved. */
class HandClock {
  time = 0;
  readonly #timers = new Set<{ readonly at: number; readonly action: () => void }>();

  readonly now = (): number => this.time;

  readonly after = (ms: number, action: () => void): (() => void) => {
    const timer = { at: this.time + ms, action };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  };

  get waiting(): number {
    return this.#timers.size;
  }

  move(to: number): void {
    for (;;) {
      const next = [...this.#timers].toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > to) break;
      this.#timers.delete(next);
      this.time = next.at;
      next.action();
    }
    this.time = to;
  }
}

describe('drains', () => {
  it('end each connection at its own deadline, the earliest that was ever asked for', () => {
    const clock = new HandClock();
    const drains = new Drains(clock.after, clock.now);
    const ended: string[] = [];
    const connection = (name: string) => ({
      reset: () => void ended.push(`${name} ${clock.time}`),
    });
    const [a, b, c, d] = [connection('a'), connection('b'), connection('c'), connection('d')];
    drains.add(a, 300);
    drains.add(b, 100);
    drains.add(c, 200);
    drains.add(b, 500);
    drains.add(d, 250);
    drains.delete(c);
    clock.move(1000);
    expect(ended).toEqual(['b 100', 'd 250', 'a 300']);
  });
});

describe('a timer of the system', () => {
  it('does not come at once where it is to come later than any can', () => {
    vi.useFakeTimers();
    try {
      let times = 0;
      const stop = systemAfter(1000 * 3600 * 1000, () => times++);
      vi.advanceTimersByTime(1_000_000);
      expect(times).toBe(0);
      stop();
      systemAfter(250, () => times++);
      vi.advanceTimersByTime(251);
      expect(times).toBe(1);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('time-outs', () => {
  it('come at their time, or not at all where they are stopped, with one timer a length', () => {
    const clock = new HandClock();
    const after = fewTimers(clock.after, clock.now);
    const came: string[] = [];
    const start = (name: string, ms: number) =>
      after(ms, () => void came.push(`${name} ${clock.time}`));
    start('a', 250);
    const stop = start('b', 250);
    clock.move(100);
    start('c', 250);
    start('d', 500);
    stop();
    expect(clock.waiting).toBe(2);
    clock.move(1000);
    expect(came).toEqual(['a 250', 'c 350', 'd 600']);
    expect(clock.waiting).toBe(0);
    start('e', 250);
    clock.move(2000);
    expect(came.at(-1)).toBe('e 1250');
  });
});

describe('what goes wrong', () => {
  it('is told once in ten seconds for each listener and matter, with how often it was not', () => {
    const clock = new HandClock();
    const lines: unknown[] = [];
    const report = new Report(
      (level, fields, message) => lines.push([level, fields, message]),
      clock.now,
    );
    const [web, dns] = ['web', 'dns'] as [ListenerKey, ListenerKey];
    for (const listener of [web, web, dns, web])
      report.warn(listener, 'is refused', () => ({ at: clock.time }));
    clock.move(10_000);
    report.warn(web, 'is refused', () => ({ at: clock.time }));
    expect(lines).toEqual([
      ['warn', { listener: 'web', at: 0 }, 'is refused'],
      ['warn', { listener: 'dns', at: 0 }, 'is refused'],
      ['warn', { listener: 'web', at: 10_000, unsaid: 2 }, 'is refused'],
    ]);
  });
});

describe('sources', () => {
  it.each([
    [undefined, '192.0.2.1', true],
    [[], '192.0.2.1', false],
    [['192.0.2.0/24'], '192.0.2.255', true],
    [['192.0.2.0/24'], '192.0.3.0', false],
    [['0.0.0.0/0'], '1.2.3.4', true],
    [['0.0.0.0/0'], '2001:db8::1', false],
    [['::/0'], '2001:db8::1', true],
    [['10.0.0.0/8', '2001:db8::/33'], '2001:db8:8000::1', false],
    [['10.0.0.0/8', '2001:db8::/33'], '2001:db8:7fff::1', true],
    [['10.0.0.7/32'], '10.0.0.7', true],
  ])('%j of %s: %s', (sources, address, fits) => {
    expect(sourceTest(sources as Cidr[] | undefined)(address as Address)).toBe(fits);
  });
});
