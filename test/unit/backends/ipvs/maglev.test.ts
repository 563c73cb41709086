// How far nodes agree on clients that saw endpoints come in different orders (docs/annotations.md): a model of the table of `mh`.
import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { Random } from '../../../soak/random.ts';

/** As many as the kernel's table has (CONFIG_IP_VS_MH_TAB_INDEX=12). */
const places = 4093;
/** So many different ones, and so many orders of the endpoints of each. */
const services = 20;
const orders = 5;

/**
 * Maglev's table (Eisenbud et al., NSDI 2016, section 3.4): who has each place. In turn each endpoint takes the next place of
 * its own order that is free.
 */
function tableOf(endpoints: readonly string[]): readonly string[] {
  const table: string[] = [];
  const walks = endpoints.map((endpoint) => {
    const hash = createHash('sha256').update(endpoint).digest();
    return {
      endpoint,
      next: hash.readUInt32LE(0) % places,
      skip: (hash.readUInt32LE(4) % (places - 1)) + 1,
    };
  });
  for (let taken = 0; taken < places; taken++) {
    const walk = walks[taken % walks.length];
    if (walk === undefined) break;
    while (table[walk.next] !== undefined) walk.next = (walk.next + walk.skip) % places;
    table[walk.next] = walk.endpoint;
  }
  return table;
}

function shuffled<T>(list: readonly T[], random: Random): readonly T[] {
  const drawn = list.map((each) => ({ each, lot: random.next() }));
  return drawn.toSorted((a, b) => a.lot - b.lot).map(({ each }) => each);
}

/** Of all places, the share that another order gives to another endpoint: the mean of many Services and orders. */
function moved(endpoints: number): number {
  const random = new Random(1);
  let differing = 0;
  for (let service = 0; service < services; service++) {
    const all = Array.from({ length: endpoints }, (_, each) => `10.${service}.0.${each + 1}:80`);
    const table = tableOf(all);
    for (let order = 0; order < orders; order++) {
      const other = tableOf(shuffled(all, random));
      differing += table.filter((endpoint, place) => endpoint !== other[place]).length;
    }
  }
  return differing / (services * orders * places);
}

it.each([
  { endpoints: 3, percent: 1 },
  { endpoints: 10, percent: 1 },
  { endpoints: 50, percent: 3 },
])(
  'another order of $endpoints endpoints moves fewer than $percent % of clients, and some',
  (asked) => {
    const share = moved(asked.endpoints);
    expect(share).toBeLessThan(asked.percent / 100);
    expect(share).toBeGreaterThan(0);
  },
);
