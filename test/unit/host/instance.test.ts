// A name that one process has: who is second learns who is first, and when that one lets go.
import process from 'node:process';
import { describe, expect, it } from 'vitest';
import { InstanceName } from '../../../src/host/instance.ts';

const isLinux = process.platform === 'linux';

describe.skipIf(!isLinux)('the name of an instance', () => {
  it('is one process’s until it lets go, and others are told whose', async () => {
    const name = `switchyard-test-${process.pid}`;
    const first = await InstanceName.take(name, 'process 1, since noon');
    if (!(first instanceof InstanceName)) throw new Error('somebody has the name');
    const second = await InstanceName.take(name, 'process 2');
    if (second instanceof InstanceName) throw new Error('two have the name');
    expect(second.said).toBe('process 1, since noon');
    first.release();
    await second.gone;
    second.forget();
    const third = await InstanceName.take(name, 'process 3');
    expect(third).toBeInstanceOf(InstanceName);
    if (third instanceof InstanceName) third.release();
  });
});
