// Agents that follow each other in one process share what it is the only one at.
import { rm } from 'node:fs/promises';
import process from 'node:process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { HeldInstances } from '../../../src/proxy/held-instances.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { ownFolder } from '../../support/own-folder.ts';

const options = { clock: systemClock, log: silentLog };
let folder: string;

beforeEach(() => {
  folder = ownFolder('held-instances');
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

test('a second agent in the process need not wait for the first, and others wait for both', async () => {
  const [ours, theirs] = [new HeldInstances(), new HeldInstances()];
  const name = `test-${process.pid}`;
  const never = new AbortController().signal;
  const first = await ours.becomeOnly(name, [folder], options, never);
  const second = await ours.becomeOnly(name, [folder], options, never);
  let isTheirs = false;
  const waiting = theirs.becomeOnly(name, [folder], options, never).then((instance) => {
    isTheirs = true;
    return instance;
  });
  await first.release();
  await first.release();
  const third = await ours.becomeOnly(name, [folder], options, never);
  await second.release();
  expect(isTheirs).toBe(false);
  await third.release();
  await (await waiting).release();
});

test('agents of the process that wait for another one begin together', async () => {
  const [ours, theirs] = [new HeldInstances(), new HeldInstances()];
  const name = `test-${process.pid}`;
  const never = new AbortController().signal;
  const other = await theirs.becomeOnly(name, [folder], options, never);
  const givenUp = new AbortController();
  const none = ours.becomeOnly(name, [folder], options, givenUp.signal);
  const both = Promise.all([
    ours.becomeOnly(name, [folder], options, never),
    ours.becomeOnly(name, [folder], options, never),
  ]);
  givenUp.abort();
  await expect(none).rejects.toThrow('aborted');
  await other.release();
  for (const each of await both) await each.release();
});

test('a name is shared likewise', async () => {
  const [ours, theirs] = [new HeldInstances(), new HeldInstances()];
  const name = `switchyard-test-${process.pid}`;
  const first = await ours.nameOther(name, options);
  const second = await ours.nameOther(name, options);
  expect([first.other, second.other]).toEqual([undefined, undefined]);
  await first.instance?.release();
  expect((await theirs.nameOther(name, options)).other).toContain(String(process.pid));
  await second.instance?.release();
  const other = await theirs.nameOther(name, options);
  expect(other.other).toBeUndefined();
  await other.instance?.release();
});
