import { describe, expect, it } from 'vitest';
import { Affinity, ClientCount } from '../../../src/relay/affinity.ts';

const within = 1000;

describe('a client stays with its endpoint', () => {
  it('until it has been away for the time-out; each visit counts', () => {
    const affinity = new Affinity(new ClientCount());
    affinity.pin('c', 'a', within, 0);
    expect(affinity.find('c', within, 999)).toBe('a');
    expect(affinity.find('c', within, 1998)).toBe('a');
    expect(affinity.find('c', within, 2998)).toBeUndefined();
  });

  it('until it is forgotten, or the endpoint has left', () => {
    const affinity = new Affinity(new ClientCount());
    for (const client of ['c', 'd', 'e'])
      affinity.pin(client, client === 'd' ? 'b' : 'a', within, 0);
    affinity.forget('c');
    affinity.keep(new Set(['b']));
    expect(['c', 'd', 'e'].map((client) => affinity.find(client, within, 1))).toEqual([
      undefined,
      'b',
      undefined,
    ]);
  });

  it('and leaves no memory behind: who has been away too long goes when others come', () => {
    const affinity = new Affinity(new ClientCount());
    for (let i = 0; i < 100; i++) affinity.pin(`c${i}`, 'a', within, i);
    affinity.find('c0', within, 500);
    affinity.pin('new', 'a', within, 1050);
    expect(affinity.size).toBe(51);
    expect(affinity.find('c0', within, 1050)).toBe('a');
    expect(affinity.find('c50', within, 1050)).toBeUndefined();
  });

  it('but no more than so many clients are remembered', () => {
    const affinity = new Affinity(new ClientCount());
    for (let i = 0; i < 100_010; i++) affinity.pin(`c${i}`, 'a', within, 0);
    expect(affinity.size).toBe(100_000);
    expect(affinity.find('c9', within, 0)).toBeUndefined();
    expect(affinity.find('c10', within, 0)).toBe('a');
  });

  it('and no more than so many of all listeners: who has a new one forgets one of its own', () => {
    const all = new ClientCount(10);
    const [flooded, quiet, late] = [new Affinity(all), new Affinity(all), new Affinity(all)];
    quiet.pin('q', 'a', within, 0);
    for (let i = 0; i < 20; i++) flooded.pin(`c${i}`, 'a', within, 0);
    late.pin('l', 'a', within, 0);
    expect([flooded.size, quiet.size, late.size]).toEqual([9, 1, 1]);
    expect(late.find('l', within, 1)).toBe('a');
    flooded.pin('new', 'a', within, 1);
    expect([flooded.size, all.value]).toEqual([8, 10]);
    flooded.close();
    quiet.keep(new Set());
    late.forget('l');
    expect(all.value).toBe(0);
  });
});
