// The runtime in memory does as containerd does where the kubelet relies on it: names, states, graces, logs, and its small shell.
import { readFileSync, rmSync } from 'node:fs';
import { Code } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Cri } from '../../../src/kubelet/cri/client.ts';
import { containerConfig, sandboxConfig } from '../../support/fake-cri/configs.ts';
import { FakeRuntime } from '../../support/fake-cri/fake-runtime.ts';
import { ownFolder } from '../../support/own-folder.ts';
import { VirtualClock, settle } from '../proxy/virtual-clock.ts';

let folder: string;
let clock: VirtualClock;
let fake: FakeRuntime;
let cri: Cri;

beforeEach(() => {
  folder = ownFolder('switchyard-fake-cri');
  clock = new VirtualClock();
  clock.setDate(Date.UTC(2026, 0, 1));
  fake = new FakeRuntime({ clock, folder });
  fake.images.add({ name: 'docker.io/local/busybox:1' });
  cri = fake.connect();
});

afterEach(async () => {
  fake.reboot();
  await settle();
  rmSync(folder, { recursive: true, force: true });
});

async function run(script: string, uid = 'a'): Promise<string> {
  const config = sandboxConfig(uid, { logs: `${folder}/logs/${uid}` });
  const { podSandboxId } = await cri.runtime.runPodSandbox({ config });
  const { containerId } = await cri.runtime.createContainer({
    podSandboxId,
    config: containerConfig(uid, script),
  });
  await cri.runtime.startContainer({ containerId });
  await settle();
  return containerId;
}

async function status(containerId: string) {
  const answer = await cri.runtime.containerStatus({ containerId });
  return answer.status;
}

function output(uid = 'a'): readonly string[] {
  const text = readFileSync(`${folder}/logs/${uid}/main/0.log`, 'utf8');
  return text.split('\n').map((line) => line.split(' ').slice(1).join(' '));
}

describe('the shell', () => {
  it.each([
    ['echo a b', ['stdout F a b']],
    ["echo 'a  b' >&2", ['stderr F a  b']],
    ['X=1; echo "$X-${X}$X"; echo \'$X\'', ['stdout F 1-11', 'stdout F $X']],
    [
      'false || echo no; true && echo yes; false; echo $?',
      ['stdout F no', 'stdout F yes', 'stdout F 1'],
    ],
    ['echo 1 > /tmp/f; echo 2 >> /tmp/f; cat /tmp/f', ['stdout F 1', 'stdout F 2']],
    ['n=$(echo 4); echo $((n+1))', ['stdout F 5']],
    ['i=0; while [ $i -lt 2 ]; do echo $i; i=$((i+1)); done', ['stdout F 0', 'stdout F 1']],
    ['if test -e /tmp/x; then echo is; else echo is not; fi', ['stdout F is not']],
    ['for x in a b; do echo $x; done', ['stdout F a', 'stdout F b']],
    [
      'hostname; cat /nothing || exit 0',
      ['stdout F pod-a', "stderr F cat: can't open '/nothing': No such file or directory"],
    ],
    ['echo -n part', ['stdout P part']],
    ['sh -c "exit 4"; echo $?', ['stdout F 4']],
  ])('%s', async (script, lines) => {
    await run(script);
    expect(output().slice(0, -1)).toEqual(lines);
  });

  it.each([
    ['exit 3', 3, 'Error'],
    ['true', 0, 'Completed'],
    ['nonsense', 127, 'Error'],
    ['tail /dev/zero', 137, 'OOMKilled'],
  ])('%s ends with %i', async (script, exitCode, reason) => {
    expect(await status(await run(script))).toMatchObject({ exitCode, reason, state: 2 });
  });
});

describe('a stop', () => {
  it('waits for the grace where nobody heeds the signal, and kills then', async () => {
    const containerId = await run('sleep 1000');
    const stopped = cri.runtime.stopContainer({ containerId, timeout: 30n });
    await clock.advance(29_000);
    expect((await status(containerId))?.exitCode).toBe(0);
    await clock.advance(1000);
    await stopped;
    expect(await status(containerId)).toMatchObject({ exitCode: 137, reason: 'Error', state: 2 });
  });

  it.each([
    ['trap "echo bye; exit 0" TERM; while true; do sleep 0.1; done'],
    ['trap "echo bye; exit 0" TERM; sleep 1000 & wait'],
  ])('ends at the signal that is trapped: %s', async (script) => {
    const containerId = await run(script);
    const stopped = cri.runtime.stopContainer({ containerId, timeout: 30n });
    await clock.advance(200);
    await stopped;
    expect(await status(containerId)).toMatchObject({ exitCode: 0, reason: 'Completed' });
    expect(output()).toContain('stdout F bye');
  });

  it('with a shorter grace overtakes one that waits', async () => {
    const containerId = await run('sleep 1000');
    const long = cri.runtime.stopContainer({ containerId, timeout: 30n });
    await settle();
    const short = cri.runtime.stopContainer({ containerId, timeout: 2n });
    await clock.advance(2000);
    await Promise.all([long, short]);
    expect((await status(containerId))?.exitCode).toBe(137);
  });
});

describe('names', () => {
  it('are reserved until what has them is removed', async () => {
    await run('sleep 1000');
    const config = sandboxConfig('a');
    await expect(cri.runtime.runPodSandbox({ config })).rejects.toThrow(
      /failed to reserve sandbox name "pod-a_default_a_0"/,
    );
    const [id = ''] = fake.sandboxes.keys();
    await cri.runtime.removePodSandbox({ podSandboxId: id });
    await cri.runtime.removePodSandbox({ podSandboxId: id });
    await cri.runtime.runPodSandbox({ config });
    expect(fake.containers.size).toBe(0);
  });
});

describe('exec', () => {
  it('answers with output and status, and ends when its time is over', async () => {
    const containerId = await run('echo one > /tmp/f; sleep 1000');
    const answer = await cri.runtime.execSync({
      containerId,
      cmd: ['sh', '-c', 'cat /tmp/f; exit 3'],
    });
    expect(new TextDecoder().decode(answer.stdout)).toBe('one\n');
    expect(answer.exitCode).toBe(3);
    const late = cri.runtime.execSync({ containerId, cmd: ['sleep', '60'], timeout: 1n });
    const failed = late.catch((thrown: unknown) => thrown);
    await clock.advance(1000);
    expect(await failed).toMatchObject({ grpcCode: Code.DeadlineExceeded });
  });
});

describe('a program that is not there', () => {
  it('fails the start, and leaves an ended container', async () => {
    const { podSandboxId } = await cri.runtime.runPodSandbox({ config: sandboxConfig('a') });
    const config = { ...containerConfig('a', ''), command: ['/nope'] };
    const { containerId } = await cri.runtime.createContainer({ podSandboxId, config });
    await expect(cri.runtime.startContainer({ containerId })).rejects.toThrow(/no such file/);
    expect(await status(containerId)).toMatchObject({
      exitCode: 128,
      reason: 'StartError',
      state: 2,
    });
  });
});

describe('images', () => {
  it('are present by any of their names, pulled from a registry, with credentials where it asks', async () => {
    const present = await cri.images.imageStatus({ image: { image: 'local/busybox:1' } });
    expect(present.image?.repoTags).toEqual(['docker.io/local/busybox:1']);
    expect((await cri.images.imageStatus({ image: { image: 'none' } })).image).toBeUndefined();
    await expect(cri.images.pullImage({ image: { image: 'reg.test/a:1' } })).rejects.toMatchObject({
      grpcCode: Code.NotFound,
    });
    fake.images.offer({ name: 'reg.test/a:1', credentials: 'me:secret' });
    await expect(cri.images.pullImage({ image: { image: 'reg.test/a:1' } })).rejects.toThrow(/401/);
    const auth = { username: 'me', password: 'secret' };
    await cri.images.pullImage({ image: { image: 'reg.test/a:1' }, auth });
    const pulled = await cri.images.imageStatus({ image: { image: 'reg.test/a:1' } });
    expect(pulled.image?.repoTags).toEqual(['reg.test/a:1']);
  });
});

describe('what goes wrong', () => {
  it('is thrown before or after the call that a test names', async () => {
    fake.log.fault = (phase, { name }) => {
      if (name === 'RunPodSandbox' && phase === 'after') throw new Error('cut');
    };
    await expect(cri.runtime.runPodSandbox({ config: sandboxConfig('a') })).rejects.toThrow(
      /RunPodSandbox/,
    );
    expect(fake.sandboxes.size).toBe(1);
    expect(fake.log.changes).toEqual(['RunPodSandbox']);
  });
});
