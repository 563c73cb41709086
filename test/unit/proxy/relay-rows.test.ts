// Sums for metrics: by service port, never falling while the service port is there, and gone with it.
import { describe, expect, it } from 'vitest';
import { RelayRows, relayRows } from '../../../src/proxy/relay-rows.ts';
import type { ListenerKey, ListenerStats } from '../../../src/relay/relay.ts';
import { settle } from './virtual-clock.ts';

const stats = (connections: number, active = 0): ListenerStats => ({
  connections,
  active,
  bytesIn: 10 * connections,
  bytesOut: 100 * connections,
  dialFailures: { refused: connections, timeout: 0, unreachable: 0, reset: 0, files: 0, other: 0 },
  retries: connections,
  refused: 0,
  evicted: 0,
});
const of = (entries: Readonly<Record<string, ListenerStats>>) =>
  new Map(Object.entries(entries) as [ListenerKey, ListenerStats][]);

class FakeRelay {
  has: Readonly<Record<string, ListenerStats>> = {};
  readonly stats = () => of(this.has);
}

/** The answer before is over. */
async function connectionsOf(rows: RelayRows['rows']): Promise<readonly number[]> {
  await settle();
  return rows().map(({ connections }) => connections);
}

describe('the totals of a relay', () => {
  it('add up what the listeners of a service port have carried', () => {
    const rows = relayRows({
      stats: () =>
        of({
          'shop/web:http/TCP cluster ipv4': stats(2, 1),
          'shop/web:http/TCP local ipv6': stats(3, 1),
          'shop/dns/UDP at 127.0.0.1:53': stats(1),
          'shop/idle:http/TCP cluster ipv4': stats(0),
        }),
    })();
    expect(rows).toEqual([
      expect.objectContaining({
        namespace: 'shop',
        service: 'web',
        port: 'http',
        protocol: 'TCP',
        connections: 5,
        active: 2,
        bytesIn: 50,
        bytesOut: 500,
        retries: 5,
      }),
      expect.objectContaining({ service: 'dns', port: '', protocol: 'UDP', connections: 1 }),
    ]);
    expect(rows[0]?.dialFailures['refused']).toBe(5);
  });

  it('do not fall when a listener goes or comes again, and end with the last of them', async () => {
    const relay = new FakeRelay();
    const rows = relayRows(relay);
    const [one, two] = ['a/b:c/TCP cluster ipv4', 'a/b:c/TCP local ipv4'];
    const count = async (entries: Readonly<Record<string, ListenerStats>>) => {
      relay.has = entries;
      return connectionsOf(rows);
    };
    expect(await count({ [one]: stats(5), [two]: stats(2) })).toEqual([7]);
    expect(await count({ [two]: stats(3) })).toEqual([8]);
    expect(await count({ [one]: stats(1), [two]: stats(3) })).toEqual([9]);
    expect(await count({ [one]: stats(0), [two]: stats(3) })).toEqual([9]);
    expect(await count({})).toEqual([]);
    expect(await count({ [one]: stats(1) })).toEqual([1]);
  });

  it('go on when another relay takes over, while the last connections of the one before end', async () => {
    const rows = new RelayRows();
    const count = async () => connectionsOf(rows.rows);
    const [first, second] = [new FakeRelay(), new FakeRelay()];
    const [web, api] = ['a/web/TCP cluster ipv4', 'a/api/TCP cluster ipv4'];
    rows.follow(first);
    first.has = { [web]: stats(5, 1), [api]: stats(2) };
    expect(await count()).toEqual([5, 2]);
    rows.awaitNext();
    // it has left: what has no connections is gone
    first.has = { [web]: stats(6, 1) };
    rows.follow(second);
    expect(await count()).toEqual([6, 2]);
    second.has = { [web]: stats(1) };
    rows.settled();
    expect(await count()).toEqual([7]);
    first.has = { [web]: stats(6, 0) };
    second.has = { [web]: stats(3) };
    expect(await count()).toEqual([9]);
    first.has = {};
    expect(await count()).toEqual([9]);
    rows.follow(second);
    second.has = {};
    expect(await count()).toEqual([]);
  });
});
