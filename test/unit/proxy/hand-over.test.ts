// One agent of userspace mode follows the other: the next one begins when the ports are free, and not before.
import { describe, expect, it } from 'vitest';
import { handOver } from '../../../src/proxy/userspace-backends.ts';
import { settle } from './virtual-clock.ts';

describe('an agent that ends', () => {
  it('lets the next one begin when its ports are free, and does not wait for its connections', async () => {
    const told: string[] = [];
    const tell = (word: string) => async () => void told.push(word);
    const relay = { leave: tell('leave'), close: tell('close') };
    const drain = async (ms: number) => void told.push(`drain ${ms}`);
    const first = handOver({ ...relay, drain }, { release: tell('release') });
    await first.leave();
    expect(told.splice(0).join()).toBe('leave,release');
    await first.close(25_000);
    await handOver({ ...relay, drain }, undefined).close(0);
    expect(told.join()).toBe('drain 25000,close,leave,drain 0,close');
  });

  it('that is told to hurry ends what still drains', async () => {
    const told: string[] = [];
    const tell = (word: string) => async () => void told.push(word);
    const hurry = new AbortController();
    const relay = { leave: tell('leave'), close: tell('close'), drain: async () => never };
    const closing = handOver(relay, undefined).close(300_000, hurry.signal);
    await settle();
    expect(told).toEqual(['leave']);
    hurry.abort();
    await closing;
    expect(told).toEqual(['leave', 'close']);
  });
});

const never = new Promise<never>(() => {});
