// The one agent of a network namespace: it waits for another one, and for nobody who only says to be one.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { InstanceName } from '../../../src/host/instance.ts';
import { becomeOnly } from '../../../src/proxy/only-instance.ts';
import { silentLog } from '../../../src/telemetry/log.ts';

const isLinux = process.platform === 'linux';
const { signal } = new AbortController();

describe.skipIf(!isLinux)('the only agent', () => {
  const name = `test-${process.pid}`;
  let folder = '';
  let warnings: string[] = [];
  const log = { ...silentLog, warn: (_: object, text: string) => void warnings.push(text) };
  const options = { clock: systemClock, log };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'switchyard-only-'));
    warnings = [];
  });

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });

  it('waits for another one by name, until that lets go', async () => {
    const first = await becomeOnly(name, [folder], options, signal);
    let isSecond = false;
    const second = becomeOnly(name, [folder], options, signal).then((each) => {
      isSecond = true;
      return each;
    });
    await expect.poll(() => warnings).toHaveLength(1);
    expect(warnings[0]).toContain(`another Switchyard in userspace mode (process ${process.pid}, `);
    expect(isSecond).toBe(false);
    await first.release();
    await (await second).release();
  });

  it('is not kept from its work by whoever holds a name that anybody may take', async () => {
    const stranger = await InstanceName.take(`switchyard-${name}`, 'process 1, since ever');
    if (!(stranger instanceof InstanceName)) throw new Error('somebody has the name');
    const agent = await becomeOnly(name, [folder], options, signal);
    expect(warnings.join()).toContain('(process 1, since ever) runs in this network namespace, or');
    await agent.release();
    stranger.release();
  });

  it('says so where no folder can have the lock, and takes the first that can', async () => {
    await (
      await becomeOnly(name, [`${process.execPath}/nowhere`, folder], options, signal)
    ).release();
    expect(warnings).toEqual([]);
    await (await becomeOnly(name, [`${process.execPath}/nowhere`], options, signal)).release();
    expect(warnings.join()).toMatch(
      /^nothing keeps a second agent from working here: .*ENOTDIR.*nowhere/,
    );
  });
});
