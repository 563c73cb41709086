// One agent of userspace mode follows the other: the next one begins when the ports are free, and not before.
import { describe, expect, it } from 'vitest';
import { handOver } from '../../../src/proxy/userspace-backends.ts';

describe('an agent that ends', () => {
  it('lets the next one begin when its ports are free, and does not wait for its connections', async () => {
    const told: string[] = [];
    const tell = (word: string) => async () => void told.push(word);
    const relay = { leave: tell('leave'), close: tell('close') };
    const drain = async (ms: number) => void told.push(`drain ${ms}`);
    await handOver({ ...relay, drain }, { release: tell('release') }, 25_000);
    await handOver({ ...relay, drain }, undefined, 0);
    expect(told.join()).toBe('leave,release,drain 25000,close,leave,drain 0,close');
  });
});
