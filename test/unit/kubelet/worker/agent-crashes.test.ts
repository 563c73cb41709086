import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, describe, expect, test } from 'vitest';

import { container, pod, sidecar } from '../runtime/made-pods.ts';
import type { Phase } from '../../../support/fake-cri/call-log.ts';
import { WorkerLab } from './worker-lab.ts';

/** The agent dies at each call to the runtime in a pod's life, and another one takes over: nothing runs twice, nothing is lost. */

let lab: WorkerLab | undefined;

afterEach(async () => {
  await lab?.end();
});

const forever = ['sh', '-c', 'trap "exit 0" TERM; sleep 1000000 & wait'];
const silent = { terminationMessagePath: '' };
const web = pod({
  initContainers: [
    container('i', { ...silent, command: ['sh', '-c', 'exit 0'] }),
    sidecar('s', { ...silent, command: forever }),
  ],
  containers: [container('app', { ...silent, command: forever })],
});

/** The agent's connection breaks at this call, done or not; it does nothing more. */
function dieAt(at: WorkerLab, index: number, phase: Phase): () => string | undefined {
  let died: string | undefined;
  const from = at.fake.log.calls.length;
  at.fake.log.fault = (now, { name }, count) => {
    if (died !== undefined || now !== phase || count - from !== index) return;
    died = name;
    at.fake.log.down = true;
    throw new ConnectError('the agent has died', Code.Unavailable);
  };
  return () => died;
}

/** Another agent; the call at which the one before died. */
async function takeOver(at: WorkerLab): Promise<void> {
  at.fake.log.fault = undefined;
  await at.stop();
  at.fake.log.down = false;
  await at.restart();
}

function starts(at: WorkerLab): Readonly<Record<string, number>> {
  const made: Record<string, number> = {};
  for (const { name, request } of at.fake.log.calls) {
    if (name !== 'StartContainer') continue;
    const { containerId } = request as { containerId: string };
    const of = at.fake.containers.get(containerId)?.config.metadata?.name ?? '';
    made[of] = (made[of] ?? 0) + 1;
  }
  return made;
}

describe.each(['before', 'after'] as const)('dies %s a call was done', (phase) => {
  test('while a pod starts', async () => {
    for (let index = 0; ; index += 1) {
      const at = new WorkerLab();
      lab = at;
      const died = dieAt(at, index, phase);
      at.put(web);
      await at.pass('runs or dies', () => died() !== undefined || at.state() === 'running 0', 20);
      const call = died();
      if (call !== undefined) await takeOver(at);
      await at.pass(
        `runs after it died at call ${index}, ${call}`,
        () => at.state().startsWith('running'),
        30,
      );
      const running = [...at.fake.containers.values()].filter((one) => one.running);
      expect(new Set(running.map(({ config }) => config.metadata?.name))).toEqual(
        new Set(['app', 's']),
      );
      expect(running).toHaveLength(2);
      const made = starts(at);
      // a call that was not done is done by the next agent: one more, of which one has run
      const most = call === 'StartContainer' && phase === 'before' ? 2 : 1;
      expect(
        Math.max(...Object.values(made)),
        `died at ${call}: ${JSON.stringify(made)}`,
      ).toBeLessThanOrEqual(most);
      expect([...at.fake.sandboxes.values()].filter(({ ready }) => ready)).toHaveLength(1);
      await at.end();
      lab = undefined;
      if (call === undefined) return;
      expect(index).toBeLessThan(200);
    }
  }, 120_000);

  test('while it ends', async () => {
    for (let index = 0; ; index += 1) {
      const at = new WorkerLab();
      lab = at;
      at.put(web);
      await at.pass('runs', () => at.state() === 'running 0', 20);
      const before = starts(at);
      const died = dieAt(at, index, phase);
      at.delete(web, 30);
      const ended = (): boolean => at.workers.state('u1')?.kind === 'finished';
      await at.pass('ends or dies', () => died() !== undefined || ended(), 60);
      const call = died();
      if (call !== undefined) await takeOver(at);
      await at.pass(`ends after it died at call ${index}, ${call}`, ended, 90);
      expect(starts(at)).toEqual(before);
      expect([...at.fake.containers.values()].some((one) => one.running)).toBe(false);
      expect([...at.fake.sandboxes.values()].some(({ ready }) => ready)).toBe(false);
      await at.end();
      lab = undefined;
      if (call === undefined) return;
      expect(index).toBeLessThan(200);
    }
  }, 120_000);
});

test('an agent that begins anew changes nothing of pods that run', async () => {
  lab = new WorkerLab();
  lab.put(web);
  await lab.pass('runs', () => lab?.state() === 'running 0', 20);
  const before = lab.fake.log.changes.length;
  await lab.restart();
  await lab.clock.advance(120_000);
  expect(lab.state()).toBe('running 0');
  expect(lab.fake.log.changes.slice(before)).toEqual([]);
});

test('what an upstream kubelet left of a pod is taken over, and not started again', async () => {
  lab = new WorkerLab();
  lab.put(web);
  await lab.pass('runs', () => lab?.state() === 'running 0', 20);
  for (const { config } of [...lab.fake.sandboxes.values(), ...lab.fake.containers.values()]) {
    delete config.labels['switchyard.dev/managed-by'];
    if ('io.kubernetes.container.hash' in config.annotations)
      config.annotations['io.kubernetes.container.hash'] = 'another';
  }
  const before = lab.fake.log.changes.length;
  await lab.restart();
  await lab.clock.advance(120_000);
  expect(lab.state()).toBe('running 0');
  expect(lab.fake.log.changes.slice(before)).toEqual([]);
});

test('a pod that no source has is ended with a second of grace; what others run is left alone', async () => {
  lab = new WorkerLab();
  const at = lab;
  at.put(web);
  await at.pass('runs', () => at.state() === 'running 0', 20);
  const cri = at.fake.connect();
  await cri.runtime.runPodSandbox({
    config: {
      metadata: { name: 'other', namespace: 'x', uid: 'theirs', attempt: 0 },
      labels: { 'io.kubernetes.pod.uid': 'theirs' },
    },
  });
  at.forget('u1');
  await at.restart();
  await at.pass('ended', () => ![...at.fake.containers.values()].some((one) => one.running), 30);
  const stop = at.fake.log.calls.find(({ name }) => name === 'StopContainer');
  expect(stop?.request).toMatchObject({ timeout: 2n });
  await at.pass('stopped', () => at.workers.state('u1')?.kind === 'finished', 5);
  at.housekeep();
  expect(at.workers.uids()).toEqual([]);
  const ready = [...at.fake.sandboxes.values()].filter((one) => one.ready);
  expect(ready.map(({ config }) => config.metadata?.uid)).toEqual(['theirs']);
});

test('after a reboot a finished pod is not run again, and one that goes on is', async () => {
  lab = new WorkerLab();
  const at = lab;
  const once = pod(
    {
      restartPolicy: 'Never',
      containers: [container('app', { ...silent, command: ['sh', '-c', 'exit 0'] })],
    },
    { uid: 'u2', name: 'once' },
  );
  at.put(web);
  at.put(once);
  await at.pass('runs', () => at.state() === 'running 0', 20);
  await at.pass('succeeded', () => at.status('u2').phase === 'Succeeded', 20);
  await at.stop();
  at.fake.reboot();
  await at.restart();
  await at.pass('runs again', () => at.state() === 'running 1', 30);
  await at.clock.advance(5000);
  expect(at.status('u2').phase).toBe('Succeeded');
  // the two before the reboot, and one after it
  expect(starts(at)['app']).toBe(3);
});
