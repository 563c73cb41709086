// When the relay says that it has much to do.
import { describe, expect, it } from 'vitest';
import { Rush } from '../../../src/relay/rush.ts';

/** Clients that come at a steady pace from `startMs` on; answers how often a rush was noticed by then. */
class Crowd {
  time = 0;
  noticed = 0;
  readonly #rush = new Rush(
    () => this.time,
    () => void this.noticed++,
  );

  come(clients: number, perSecond: number): void {
    const startMs = this.time;
    for (let client = 1; client <= clients; client++) {
      this.time = startMs + (client * 1000) / perSecond;
      this.#rush.clientCame();
    }
  }
}

describe('a rush of clients', () => {
  it.each([
    [499, 10_000, 0],
    [500, 10_000, 1],
    [5000, 400, 0],
    [5000, 600, 1],
  ])('%d clients at %d a second are noticed %d times', (clients, perSecond, times) => {
    const crowd = new Crowd();
    crowd.come(clients, perSecond);
    expect(crowd.noticed).toBe(times);
  });

  it('is noticed after a long time with few clients', () => {
    const crowd = new Crowd();
    crowd.come(20_000, 10);
    expect(crowd.noticed).toBe(0);
    crowd.come(1000, 5000);
    expect(crowd.noticed).toBe(1);
  });

  it('is noticed once, however long it lasts', () => {
    const crowd = new Crowd();
    crowd.come(100_000, 10_000);
    expect(crowd.noticed).toBe(1);
  });
});
