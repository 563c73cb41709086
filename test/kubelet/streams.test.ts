// What `kubectl` is told of a node and by it, through the API server, over TLS: what is there, logs, commands with and without a terminal, their exit codes.
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tokens } from '../cluster/control-plane.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletCluster } from './kubelet-cluster.ts';
import type { KubeletProcess } from './kubelet-process.ts';

const cluster = new KubeletCluster(['n1']);
const cache = process.env['SWITCHYARD_CACHE'] ?? join(homedir(), '.cache/switchyard');
const kubectl = join(cache, 'tools/kubectl');
const isThere = existsSync(kubectl);
if (!isThere) console.warn('skipped: no kubectl; the tests of the chart fetch it');
const run = promisify(execFile);
const pods = '/api/v1/namespaces/default/pods';

let kubeconfig = '';
let kubelet: KubeletProcess | undefined;

interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** As an administrator; whatever it ends with. */
async function ask(...args: readonly string[]): Promise<Said> {
  const options = { maxBuffer: 64 * 1024 * 1024, timeout: 60_000 };
  try {
    const { stdout, stderr } = await run(kubectl, [`--kubeconfig=${kubeconfig}`, ...args], options);
    return { code: 0, out: stdout, err: stderr };
  } catch (error) {
    const failed = error as {
      readonly code?: unknown;
      readonly stdout?: string;
      readonly stderr?: string;
    };
    if (typeof failed.code !== 'number') throw error;
    return { code: failed.code, out: failed.stdout ?? '', err: failed.stderr ?? '' };
  }
}

/** What describes it, with one blank for many. */
async function described(what: string, name: string): Promise<string> {
  return (await ask('describe', what, name)).out.replaceAll(/ +/g, ' ');
}

async function startPod(name: string, script: string, more: object = {}): Promise<void> {
  const container = {
    name: 'main',
    image: 'local/busybox:1',
    imagePullPolicy: 'Never',
    command: ['sh', '-c', script],
  };
  await cluster.control.must('POST', pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { nodeName: 'n1', terminationGracePeriodSeconds: 1, containers: [container], ...more },
  });
}

interface Seen {
  readonly status: {
    readonly phase?: string;
    readonly containerStatuses?: readonly {
      readonly state: object;
      readonly restartCount: number;
    }[];
    readonly ephemeralContainerStatuses?: readonly {
      readonly name: string;
      readonly state: object;
    }[];
  };
}

async function untilPod(name: string, what: string, holds: (pod: Seen) => boolean): Promise<void> {
  const seen = async (): Promise<boolean> => {
    if (kubelet?.ended !== undefined) throw new Error(kubelet.ended);
    const pod = await cluster.get<Seen>(`${pods}/${name}`);
    return pod !== undefined && holds(pod);
  };
  try {
    await cluster.control.until(`${name} ${what}`, seen);
  } catch (cause) {
    throw new Error(`${String(cause)}\n${kubelet?.log.slice(-8000)}`, { cause });
  }
}

const isRunning = ({ status }: Seen): boolean =>
  Object.hasOwn(status.containerStatuses?.[0]?.state ?? {}, 'running');

beforeAll(async () => {
  if (!isThere) return;
  await cluster.start([pauseImage(), busyboxImage()]);
  kubeconfig = cluster.control.kubeconfig({ token: tokens.admin, name: 'kubectl' });
  const [node] = cluster.nodes;
  if (node === undefined) throw new Error('no node');
  kubelet = cluster.kubelet(node);
  kubelet.start();
  await cluster.control.until('there is a default account', async () => cluster.hasAccount());
  await startPod('talker', 'i=0; while true; do echo line $i; i=$((i+1)); sleep 0.2; done');
  await untilPod('talker', 'runs', isRunning);
});

afterAll(async () => {
  await kubelet?.stop();
  if (isThere) await cluster.stop();
});

describe.skipIf(!isThere)('what is there', () => {
  it('is told as of any node', async () => {
    await cluster.control.until('the pod is ready in the table', async () =>
      ask('get', 'pod', 'talker').then(({ out }) => /talker +1\/1 +Running +0 /.test(out)),
    );
    expect((await ask('get', 'node', 'n1')).out).toMatch(/n1 +Ready +<none> +\S+ +v1\./);
  });

  it('is described, with what happened to the pod and to the node', async () => {
    const happened = ['Pulled', 'Created', 'Started'];
    await cluster.control.until('the Events are there', async () => {
      const said = await described('pod', 'talker');
      return happened.every((reason) => said.includes(`Normal ${reason} `));
    });
    const pod = await described('pod', 'talker');
    expect(pod).toMatch(/Container ID: containerd:\/\/[0-9a-f]{64}/);
    expect(pod).toMatch(/State: Running\n\s*Started: /);
    for (const each of ['PodScheduled', 'Initialized', 'ContainersReady', 'Ready']) {
      expect(pod).toMatch(new RegExp(`\\n\\s*${each} True`));
    }
    const node = await described('node', 'n1');
    expect(node).toMatch(/Ready True .* KubeletReady/);
    expect(node).toMatch(/Container Runtime Version: containerd:\/\//);
    expect(node).toMatch(/default talker 0 \(0%\)/);
    expect(node).toMatch(/Normal Starting /);
  });
});

describe.skipIf(!isThere)('logs', () => {
  it('are cut as asked', async () => {
    await cluster.control.until(
      'five lines are there',
      async () => (await ask('logs', 'talker')).out.split('\n').length > 5,
    );
    const { out } = await ask('logs', 'talker', '--tail=2', '--timestamps');
    expect(out.trim().split('\n')).toEqual([
      expect.stringMatching(/^2\S+Z line \d+$/),
      expect.stringMatching(/^2\S+Z line \d+$/),
    ]);
    expect((await ask('logs', 'talker', '--limit-bytes=10')).out).toBe('line 0\nlin');
  });

  it('are followed until the container ends', async () => {
    await startPod('counter', 'for i in 1 2 3 4; do echo step $i; sleep 0.5; done', {
      restartPolicy: 'Never',
    });
    await untilPod('counter', 'runs', isRunning);
    expect(await ask('logs', '-f', 'counter')).toEqual({
      code: 0,
      out: 'step 1\nstep 2\nstep 3\nstep 4\n',
      err: '',
    });
  });

  it('of a container before are kept, and there are none before the first', async () => {
    const { code, err } = await ask('logs', 'talker', '--previous');
    expect(code).toBe(1);
    expect(err).toContain('previous terminated container "main" in pod "talker" not found');
    await startPod('crasher', 'echo attempt; exit 1');
    await untilPod(
      'crasher',
      'was restarted',
      ({ status }) => (status.containerStatuses?.[0]?.restartCount ?? 0) > 0,
    );
    expect((await ask('logs', 'crasher', '--previous')).out).toBe('attempt\n');
  });
});

describe.skipIf(!isThere).each(['true', 'false'])('exec, by WebSocket %s', (webSockets) => {
  beforeAll(() => {
    process.env['KUBECTL_REMOTE_COMMAND_WEBSOCKETS'] = webSockets;
  });

  it('gives both streams and the exit code', async () => {
    const script = 'echo out; echo err >&2; exit 3';
    const { code, out, err } = await ask('exec', 'talker', '--', 'sh', '-c', script);
    expect([code, out, err]).toEqual([3, 'out\n', 'err\ncommand terminated with exit code 3\n']);
  });

  it('takes input to its end, and gives all that comes of it', async () => {
    const child = spawn(kubectl, [
      `--kubeconfig=${kubeconfig}`,
      'exec',
      '-i',
      'talker',
      '--',
      'wc',
      '-c',
    ]);
    child.stdin.end(Buffer.alloc(5_000_000, 'x'));
    const parts: Buffer[] = [];
    for await (const part of child.stdout) parts.push(part as Buffer);
    expect(Buffer.concat(parts).toString()).toBe('5000000\n');
    const big = await ask('exec', 'talker', '--', 'sh', '-c', 'head -c 3000000 /dev/zero');
    expect(big.out.length).toBe(3_000_000);
  });

  it('has a terminal where one is asked for', async () => {
    const command = `${kubectl} --kubeconfig=${kubeconfig} exec -it talker -- sh -c 'test -t 0 && test -t 1 && echo both; exit 7'`;
    const said = await run('script', ['-qec', command, '/dev/null']).catch(
      (error: unknown) => error as { stdout: string; code: number },
    );
    expect(said).toMatchObject({ code: 7, stdout: expect.stringContaining('both') as unknown });
  });

  it('says that there is no such container', async () => {
    const { code, err } = await ask('exec', 'talker', '-c', 'none', '--', 'true');
    expect(code).toBe(1);
    expect(err).toContain('none');
  });
});

describe.skipIf(!isThere)('debug', () => {
  it('puts a container beside another one, whose processes it sees; its log and commands are as any other’s', async () => {
    const which = ['talker', '--image=local/busybox:1', '--image-pull-policy=Never'];
    const script = ['--', 'sh', '-c', 'echo looking; sleep 1000'];
    const { code, out: told } = await ask(
      'debug',
      ...which,
      '-c',
      'looker',
      '--target=main',
      ...script,
    );
    expect([code, told]).toEqual([0, expect.stringContaining('Targeting container "main"')]);
    await untilPod('talker', 'has a looker that runs', ({ status }) =>
      (status.ephemeralContainerStatuses ?? []).some(
        ({ name, state }) => name === 'looker' && Object.hasOwn(state, 'running'),
      ),
    );
    expect((await ask('logs', 'talker', '-c', 'looker')).out).toBe('looking\n');
    const { out } = await ask('exec', 'talker', '-c', 'looker', '--', 'cat', '/proc/1/cmdline');
    expect(out).toContain('echo line');
  });
});
