import { describe, expect, it } from 'vitest';
import { Affinity } from '../../../src/relay/affinity.ts';

const within = 1000;

describe('a client stays with its endpoint', () => {
  it('until it has been away for the time-out; each visit counts', () => {
    const affinity = new Affinity();
    affinity.pin('c', 'a', within, 0);
    expect(affinity.find('c', within, 999)).toBe('a');
    expect(affinity.find('c', within, 1998)).toBe('a');
    expect(affinity.find('c', within, 2998)).toBeUndefined();
  });

  it('until it is forgotten, or the endpoint has left', () => {
    const affinity = new Affinity();
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
    const affinity = new Affinity();
    for (let i = 0; i < 100; i++) affinity.pin(`c${i}`, 'a', within, i);
    affinity.find('c0', within, 500);
    affinity.pin('new', 'a', within, 1050);
    expect(affinity.size).toBe(51);
    expect(affinity.find('c0', within, 1050)).toBe('a');
    expect(affinity.find('c50', within, 1050)).toBeUndefined();
  });

  it('but no more than so many clients are remembered', () => {
    const affinity = new Affinity();
    for (let i = 0; i < 100_010; i++) affinity.pin(`c${i}`, 'a', within, 0);
    expect(affinity.size).toBe(100_000);
    expect(affinity.find('c9', within, 0)).toBeUndefined();
    expect(affinity.find('c10', within, 0)).toBe('a');
  });
});
