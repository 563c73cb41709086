// When an agent that another one has followed is closed.
import { describe, expect, it } from 'vitest';
import { Retirement } from '../../../src/proxy/retirement.ts';
import { VirtualClock } from './virtual-clock.ts';

const hour = 3_600_000;

function retire(when: Promise<void>) {
  const clock = new VirtualClock();
  const closed: (number | undefined)[] = [];
  const retirement = new Retirement(clock, () => {});
  const agent = {
    close: async (how?: { readonly withinMs?: number }) => void closed.push(how?.withinMs),
  };
  retirement.add(agent, when, 5000);
  return { clock, closed, retirement };
}

const never = new Promise<void>(() => {});

describe('an agent that was followed is closed', () => {
  it('a moment after the rules of the next are in', async () => {
    const rules = Promise.withResolvers<void>();
    const { clock, closed } = retire(rules.promise);
    await clock.advance(60_000);
    expect(closed).toEqual([]);
    rules.resolve();
    await clock.advance(1000);
    expect(closed).toEqual([5000]);
  });

  it('also where these are never in', async () => {
    const { clock, closed } = retire(never);
    await clock.advance(hour);
    expect(closed).toEqual([5000]);
  });

  it('at once where the process ends', async () => {
    const { closed, retirement } = retire(never);
    await retirement.end(0);
    expect(closed).toEqual([5000]);
  });
});
