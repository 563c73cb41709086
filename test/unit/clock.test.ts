import { expect, test } from 'vitest';

import { systemClock } from '../../src/clock.ts';

test('a sleep longer than a timer can be outlasts a short one', async () => {
  const over = new AbortController();
  const long = systemClock.sleep(2 ** 31, over.signal).then(() => 'long');
  const short = systemClock.sleep(10).then(() => 'short');
  expect(await Promise.race([long, short])).toBe('short');
  over.abort();
  await long;
});
