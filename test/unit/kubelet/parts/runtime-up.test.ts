// What can only be done when the container runtime answers waits for it, says so, and is done again where it goes away meanwhile.
import { Code, ConnectError } from '@connectrpc/connect';
import { rmSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { onceRuntimeAnswers } from '../../../../src/kubelet/parts/runtime-up.ts';
import { FakeRuntime } from '../../../support/fake-cri/fake-runtime.ts';
import { ownFolder } from '../../../support/own-folder.ts';
import { recordingLog } from '../../informer/widgets.ts';
import { settle, VirtualClock } from '../../proxy/virtual-clock.ts';

let folder: string;
let clock: VirtualClock;
let fake: FakeRuntime;
let waits: string[];
let lines: readonly string[];

beforeEach(() => {
  folder = ownFolder('switchyard-runtime-up');
  clock = new VirtualClock();
  fake = new FakeRuntime({ clock, folder });
  waits = [];
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

async function once<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  const recording = recordingLog();
  ({ lines } = recording);
  const base = { cri: fake.connect(), clock, log: recording.log };
  return onceRuntimeAnswers(base, work, (problem) => waits.push(problem), signal);
}

const never = new AbortController().signal;

test('is done at once where it answers', async () => {
  expect(await once(async () => Promise.resolve('done'), never)).toBe('done');
  expect(waits).toEqual([]);
});

test('waits, tells why, and warns no more than now and then', async () => {
  fake.log.down = true;
  let done = 0;
  const doing = once(async () => {
    done += 1;
    // gone again
    if (done === 1) await fake.connect().runtime.status({});
    return done;
  }, never);
  await settle();
  expect(waits).toEqual([
    expect.stringMatching(/^the container runtime is waited for: Version: .*refused/),
  ]);
  for (let step = 0; step < 5; step += 1) await clock.advance(1000);
  expect(done).toBe(0);
  expect(lines).toHaveLength(1);
  fake.log.fault = (_phase, { name }) => {
    if (name === 'Status') throw new ConnectError('gone', Code.Unavailable);
  };
  fake.log.down = false;
  for (let step = 0; step < 10; step += 1) await clock.advance(1000);
  expect(await doing).toBe(2);
  expect(waits.at(-1)).toContain('Status: gone');
});

test('is not waited for where no waiting helps, nor for longer than anybody wants it', async () => {
  const bug = new TypeError('a bug');
  await expect(once(async () => Promise.reject(bug), never)).rejects.toBe(bug);
  fake.log.down = true;
  const stop = new AbortController();
  const doing = once(async () => Promise.resolve('done'), stop.signal);
  await settle();
  stop.abort();
  expect(await doing).toBeUndefined();
});
