// Sums for metrics: by service port, never falling while the service port is there, and gone with it.
import { describe, expect, it } from 'vitest';
import { RelayTotals } from '../../../src/proxy/relay-rows.ts';
import type { ListenerKey, ListenerStats } from '../../../src/relay/relay.ts';

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

describe('the totals of a relay', () => {
  it('add up what the listeners of a service port have carried', () => {
    const rows = new RelayTotals().rows(
      of({
        'shop/web:http/TCP cluster ipv4': stats(2, 1),
        'shop/web:http/TCP local ipv6': stats(3, 1),
        'shop/dns/UDP at 127.0.0.1:53': stats(1),
        'shop/idle:http/TCP cluster ipv4': stats(0),
      }),
    );
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

  it('do not fall when a listener goes or comes again, and end with the last of them', () => {
    const totals = new RelayTotals();
    const [one, two] = ['a/b:c/TCP cluster ipv4', 'a/b:c/TCP local ipv4'];
    const count = (entries: Readonly<Record<string, ListenerStats>>) =>
      totals.rows(of(entries)).map(({ connections }) => connections);
    expect(count({ [one]: stats(5), [two]: stats(2) })).toEqual([7]);
    expect(count({ [two]: stats(3) })).toEqual([8]);
    expect(count({ [one]: stats(1), [two]: stats(3) })).toEqual([9]);
    expect(count({ [one]: stats(0), [two]: stats(3) })).toEqual([9]);
    expect(count({})).toEqual([]);
    expect(count({ [one]: stats(1) })).toEqual([1]);
  });
});
