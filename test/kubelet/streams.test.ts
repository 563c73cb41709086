// What `kubectl` is told of a node and by it, through the API server, over TLS: what is there, logs, commands with and without a terminal, their exit codes.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasKubectl, isRunning, KubectlNode } from './kubectl-node.ts';

const node = new KubectlNode();
const run = promisify(execFile);

/** What describes it, with one blank for many. */
async function described(what: string, name: string): Promise<string> {
  return (await node.kubectl.ask('describe', what, name)).out.replaceAll(/ +/g, ' ');
}

beforeAll(async () => {
  if (!hasKubectl) return;
  await node.start();
  await node.startPod('talker', 'i=0; while true; do echo line $i; i=$((i+1)); sleep 0.2; done');
  await node.untilPod('talker', 'runs', isRunning);
});

afterAll(async () => {
  if (hasKubectl) await node.stop();
});

describe.skipIf(!hasKubectl)('what is there', () => {
  it('is told as of any node', async () => {
    await node.cluster.control.until('the pod is ready in the table', async () =>
      node.kubectl
        .ask('get', 'pod', 'talker')
        .then(({ out }) => /talker +1\/1 +Running +0 /.test(out)),
    );
    expect((await node.kubectl.ask('get', 'node', 'n1')).out).toMatch(
      /n1 +Ready +<none> +\S+ +v1\./,
    );
  });

  it('is described, with what happened to the pod and to the node', async () => {
    const happened = ['Pulled', 'Created', 'Started'];
    await node.cluster.control.until('the Events are there', async () => {
      const said = await described('pod', 'talker');
      return happened.every((reason) => said.includes(`Normal ${reason} `));
    });
    const pod = await described('pod', 'talker');
    expect(pod).toMatch(/Container ID: containerd:\/\/[0-9a-f]{64}/);
    expect(pod).toMatch(/State: Running\n\s*Started: /);
    for (const each of ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready']) {
      expect(pod).toMatch(new RegExp(`\\n\\s*${each} True`));
    }
    const itself = await described('node', 'n1');
    expect(itself).toMatch(/Ready True .* KubeletReady/);
    expect(itself).toMatch(/Container Runtime Version: containerd:\/\//);
    expect(itself).toMatch(/default talker 0 \(0%\)/);
    expect(itself).toMatch(/Normal Starting /);
  });
});

describe.skipIf(!hasKubectl)('logs', () => {
  it('are cut as asked', async () => {
    await node.cluster.control.until(
      'five lines are there',
      async () => (await node.kubectl.ask('logs', 'talker')).out.split('\n').length > 5,
    );
    const { out } = await node.kubectl.ask('logs', 'talker', '--tail=2', '--timestamps');
    expect(out.trim().split('\n')).toEqual([
      expect.stringMatching(/^2\S+Z line \d+$/),
      expect.stringMatching(/^2\S+Z line \d+$/),
    ]);
    expect((await node.kubectl.ask('logs', 'talker', '--limit-bytes=10')).out).toBe('line 0\nlin');
  });

  it('are followed until the container ends', async () => {
    await node.startPod('counter', 'for i in 1 2 3 4; do echo step $i; sleep 0.5; done', {
      spec: { restartPolicy: 'Never' },
    });
    await node.untilPod('counter', 'runs', isRunning);
    expect(await node.kubectl.ask('logs', '-f', 'counter')).toEqual({
      code: 0,
      out: 'step 1\nstep 2\nstep 3\nstep 4\n',
      err: '',
    });
  });

  it('of a container before are kept, and there are none before the first', async () => {
    const { code, err } = await node.kubectl.ask('logs', 'talker', '--previous');
    expect(code).toBe(1);
    expect(err).toContain('previous terminated container "main" in pod "talker" not found');
    await node.startPod('crasher', 'echo attempt; exit 1');
    await node.untilPod(
      'crasher',
      'was restarted',
      ({ status }) => (status.containerStatuses?.[0]?.restartCount ?? 0) > 0,
    );
    expect((await node.kubectl.ask('logs', 'crasher', '--previous')).out).toBe('attempt\n');
  });
});

describe.skipIf(!hasKubectl).each(['true', 'false'])('exec, by WebSocket %s', (webSockets) => {
  beforeAll(() => {
    process.env['KUBECTL_REMOTE_COMMAND_WEBSOCKETS'] = webSockets;
  });

  it('gives both streams and the exit code', async () => {
    const script = 'echo out; echo err >&2; exit 3';
    const { code, out, err } = await node.kubectl.ask('exec', 'talker', '--', 'sh', '-c', script);
    expect([code, out, err]).toEqual([3, 'out\n', 'err\ncommand terminated with exit code 3\n']);
  });

  it('takes input to its end, and gives all that comes of it', async () => {
    const child = node.kubectl.spawn('exec', '-i', 'talker', '--', 'wc', '-c');
    child.stdin.end(Buffer.alloc(5_000_000, 'x'));
    const parts: Buffer[] = [];
    for await (const part of child.stdout) parts.push(part as Buffer);
    expect(Buffer.concat(parts).toString()).toBe('5000000\n');
    const big = await node.kubectl.ask(
      'exec',
      'talker',
      '--',
      'sh',
      '-c',
      'head -c 3000000 /dev/zero',
    );
    expect(big.out.length).toBe(3_000_000);
  });

  it('has a terminal where one is asked for', async () => {
    const script = "'test -t 0 && test -t 1 && echo both; exit 7'";
    const command = node.kubectl.commandLine('exec', '-it', 'talker', '--', 'sh', '-c', script);
    const said = await run('script', ['-qec', command, '/dev/null']).catch(
      (error: unknown) => error as { stdout: string; code: number },
    );
    expect(said).toMatchObject({ code: 7, stdout: expect.stringContaining('both') as unknown });
  });

  it('says that there is no such container', async () => {
    const { code, err } = await node.kubectl.ask('exec', 'talker', '-c', 'none', '--', 'true');
    expect(code).toBe(1);
    expect(err).toContain('none');
  });
});

describe.skipIf(!hasKubectl)('debug', () => {
  it('puts a container beside another one, whose processes it sees; its log and commands are as any other’s', async () => {
    const which = ['talker', '--image=local/busybox:1', '--image-pull-policy=Never'];
    const script = ['--', 'sh', '-c', 'echo looking; sleep 1000'];
    const { code, out: told } = await node.kubectl.ask(
      'debug',
      ...which,
      '-c',
      'looker',
      '--target=main',
      ...script,
    );
    expect([code, told]).toEqual([0, expect.stringContaining('Targeting container "main"')]);
    await node.untilPod('talker', 'has a looker that runs', ({ status }) =>
      (status.ephemeralContainerStatuses ?? []).some(
        ({ name, state }) => name === 'looker' && Object.hasOwn(state, 'running'),
      ),
    );
    expect((await node.kubectl.ask('logs', 'talker', '-c', 'looker')).out).toBe('looking\n');
    const { out } = await node.kubectl.ask(
      'exec',
      'talker',
      '-c',
      'looker',
      '--',
      'cat',
      '/proc/1/cmdline',
    );
    expect(out).toContain('echo line');
  });

  it('-it: a shell at once, in the container that was put there', async () => {
    const script = 'read word; echo said $word; tr "\\\\0" " " < /proc/1/cmdline';
    const which = 'talker --image=local/busybox:1 --image-pull-policy=Never -c shell --target=main';
    const command = `${node.kubectl.commandLine('debug', '-it', which)} -- sh -c '${script}'`;
    // Somebody types, again and again, for what is typed before the terminal is there is lost.
    const typing = 'while echo hello; do sleep 0.3; done 2>/dev/null';
    const { stdout } = await run(
      'sh',
      ['-c', `(${typing}) | script -qec "$1" /dev/null`, '', command],
      { timeout: 60_000 },
    );
    expect(stdout).toContain('said hello');
    expect(stdout).toContain('echo line');
  });
});
