// A node with no API server: it runs the pods of a directory and of a URL, ps, logs and exec look at them, and nothing that goes away takes them along.
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { createConnection } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ContainerState } from '../../src/kubelet/cri/gen/api_pb.ts';
import { AgentCommands, isReady } from './agent-commands.ts';
import { busyboxImage, pauseImage } from './images.ts';
import { KubeletProcess } from './kubelet-process.ts';
import { NodeMachine, fabricAddress, makeFabric, until } from './node-machine.ts';
import { said } from './said.ts';

const node = new NodeMachine('n1', 1);
let kubelet: KubeletProcess;
let agent: AgentCommands;

/** What the URL says; undefined: an error. */
let document: object | undefined = { apiVersion: 'v1', kind: 'PodList', items: [] };
const asked: IncomingHttpHeaders[] = [];
const server = createServer((request, response) => {
  asked.push(request.headers);
  response.writeHead(document === undefined ? 500 : 200).end(JSON.stringify(document));
});

function pod(name: string, script: string, more: object = {}): object {
  const container = {
    name: 'main',
    image: 'docker.io/local/busybox:1',
    command: ['sh', '-c', script],
  };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: { terminationGracePeriodSeconds: 1, containers: [container], ...more },
  };
}

const talks = 'i=0; while true; do echo line $i; i=$((i+1)); sleep 0.2; done';

beforeAll(async () => {
  makeFabric();
  server.listen(0, fabricAddress);
  await once(server, 'listening');
  await node.start();
  node.importImages(pauseImage(), busyboxImage());
  const { port } = server.address() as AddressInfo;
  kubelet = new KubeletProcess(node, {
    configuration: {
      // As it is where nobody says anything of them.
      authorization: {},
      authentication: {},
      staticPodURL: `http://${fabricAddress}:${port}/pods`,
      staticPodURLHeader: { 'X-Token': ['s3cret'] },
      httpCheckFrequency: '1s',
    },
  });
  agent = new AgentCommands(kubelet);
  kubelet.start();
  await until('it answers', async () => (await agent.ask('ps')).code === 0);
});

afterAll(async () => {
  await kubelet.stop();
  await node.crash();
  node.remove();
  server.closeAllConnections();
  server.close();
});

describe('a node without an API server', () => {
  it('runs the pods of a directory and of a URL, and says which it does not', async () => {
    kubelet.writeManifest('web.yaml', JSON.stringify(pod('web', talks)));
    const secret = [{ name: 's', secret: { secretName: 'x' } }];
    kubelet.writeManifest('secret.yaml', JSON.stringify(pod('secret', talks, { volumes: secret })));
    document = {
      apiVersion: 'v1',
      kind: 'PodList',
      items: [pod('far', talks), pod('bad', talks, { containers: [] })],
    };
    await agent.untilPods('both run', (all) => all.length === 2 && all.every(isReady));
    const { code, out } = await agent.ask('ps');
    expect(code).toBe(0);
    const lines = out.split('\n');
    expect(lines.slice(0, 3)).toEqual([
      expect.stringMatching(/^NAME +READY +STATUS +RESTARTS +AGE +IP$/),
      expect.stringMatching(/^default\/far-n1 +1\/1 +Running +0 +\d+s +10\.244\.1\.\d+$/),
      expect.stringMatching(/^default\/web-n1 +1\/1 +Running +0 +\d+s +10\.244\.1\.\d+$/),
    ]);
    expect(out).toContain(
      'secret.yaml is left out: spec.volumes[0].secret: a static pod cannot refer to objects of the API server',
    );
    expect(out).toContain('items[1] (default/bad) is left out: spec.containers: has to have one');
    expect(asked.every((headers) => headers['x-token'] === 's3cret')).toBe(true);
    expect(kubelet.log).not.toContain('s3cret');
    expect(kubelet.log).toContain('without an API server: runs the static pods of');
  });

  it('has no port that would let nobody in', async () => {
    const socket = createConnection({ host: node.address, port: 10_250 });
    const [error] = (await once(socket, 'error').catch((thrown: unknown) => [thrown])) as [Error];
    expect(String(error)).toContain('ECONNREFUSED');
  });

  it('tells how it is', async () => {
    const { code, out } = await agent.ask('status');
    expect(out).toMatch(/pods +2 of 2 ready/);
    expect([code, out]).toEqual([0, expect.stringMatching(/state +healthy\n/)]);
  });
});

describe('logs', () => {
  it('are cut as asked, of a pod by the name in its manifest', async () => {
    await until(
      'five lines are there',
      async () => (await agent.ask('logs', 'web')).out.length > 40,
    );
    const { out } = await agent.ask('logs', 'web', '--tail=2', '--timestamps');
    expect(out.trim().split('\n')).toEqual([
      expect.stringMatching(/^2\S+Z line \d+$/),
      expect.stringMatching(/^2\S+Z line \d+$/),
    ]);
    expect((await agent.ask('logs', 'default/web-n1', '-c', 'main', '--limit-bytes=10')).out).toBe(
      'line 0\nlin',
    );
    expect((await agent.ask('logs', 'web', '--previous')).err).toContain(
      'previous terminated container "main"',
    );
  });

  it('are followed for as long as somebody reads', async () => {
    const following = agent.start('logs', '-f', '--tail=1', 'far');
    await until('it goes on', () => following.out().split('\n').length > 4);
    following.child.kill('SIGINT');
    expect(await following.ended).toBe(0);
  });

  it('of none that is there are told in words', async () => {
    expect(await agent.ask('logs', 'none')).toMatchObject({
      code: 2,
      err: expect.stringContaining('there is no pod "none" on n1') as string,
    });
    expect((await agent.ask('logs', 'web', '-c', 'side')).err).toContain('it has main');
  });
});

describe('exec', () => {
  it('gives both streams and the exit code', async () => {
    const script = 'echo out; echo err >&2; exit 3';
    expect(await agent.ask('exec', 'web', '--', 'sh', '-c', script)).toEqual({
      code: 3,
      out: 'out\n',
      err: 'err\n',
    });
    expect((await agent.ask('exec', 'web', '--', 'true')).code).toBe(0);
  });

  it('takes input to its end, and gives all that comes of it', async () => {
    const counting = agent.start('exec', '-i', 'web', '--', 'wc', '-c');
    counting.child.stdin.end(Buffer.alloc(5_000_000, 'x'));
    expect(await counting.ended).toBe(0);
    expect(counting.out()).toBe('5000000\n');
    const { out } = await agent.ask('exec', 'web', '--', 'head', '-c', '3000000', '/dev/zero');
    expect(out.length).toBe(3_000_000);
  });

  it('does not wait for an input that the command does not read', async () => {
    const leaving = agent.start('exec', '-i', 'web', '--', 'sh', '-c', 'exit 4');
    expect(await leaving.ended).toBe(4);
  });

  it('has a terminal where one is asked for, of the size of this one', async () => {
    // The size comes after the begin, as with any client.
    const script = 'test -t 0 && until stty size | grep "33 77"; do sleep 0.1; done; exit 7';
    const command = agent.words('exec', [
      '-it',
      'web',
      '--',
      'timeout',
      '20',
      'sh',
      '-c',
      `'${script}'`,
    ]);
    const line = `stty rows 33 cols 77; ${process.execPath} ${command.join(' ')}; code=$?; stty -a | grep -o ' icanon'; exit $code`;
    expect(await said('script', ['-qec', line, '/dev/null'])).toMatchObject({
      code: 7,
      out: expect.stringMatching(/33 77[^]* icanon/) as string,
    });
  });

  it('is left by a signal, as the runtime lets it be left', async () => {
    const waiting = agent.start('exec', 'web', '--', 'sh', '-c', 'echo begun; sleep 30');
    await until('it has begun', () => waiting.out() === 'begun\n');
    waiting.child.kill('SIGINT');
    expect(await waiting.ended).toBe(130);
  });

  it('says that there is no such command', async () => {
    const { code, err } = await agent.ask('exec', 'web', '--', 'nonesuch');
    expect(code).toBe(1);
    expect(err).toContain('nonesuch');
  });
});

describe('what goes away takes no pod along', () => {
  it('the URL, which comes back', async () => {
    const before = await agent.ids();
    document = undefined;
    await until('it is told', () => kubelet.log.includes('answered 500, expected 200'));
    expect((await agent.ask('ps')).out).toContain('its pods stay as they are: answered 500');
    expect(await agent.ids()).toEqual(before);
    document = { apiVersion: 'v1', kind: 'List', items: [pod('far', talks)] };
    await until('it is told again', () => kubelet.log.includes('the URL answers again'));
    expect(await agent.ids()).toEqual(before);
  });

  it('the agent, which another one follows', async () => {
    const before = await agent.ids();
    await kubelet.stop();
    expect((await agent.ask('ps')).code).toBe(2);
    kubelet.start();
    await agent.untilPods('both are known', (all) => all.length === 2 && all.every(isReady));
    expect(await agent.ids()).toEqual(before);
    expect((await agent.pods()).every(({ restarts }) => restarts === 0)).toBe(true);
  });

  it('but one that its URL no longer has ends', async () => {
    document = { apiVersion: 'v1', kind: 'List', items: [] };
    rmSync(join(kubelet.manifests, 'secret.yaml'));
    await agent.untilPods('one is left', (all) => all.length === 1 && all[0]?.name === 'web-n1');
  });
});

/** Of these of /proc what this kernel has. */
function there(...names: readonly string[]): readonly string[] {
  return names.map((name) => `/proc/${name}`).filter((path) => existsSync(path));
}

describe('a node with nothing but --source=file:DIR', () => {
  const bare = new NodeMachine('n2', 2);
  const other = new KubeletProcess(bare, { flagsAlone: true });
  const commands = new AgentCommands(other);
  const script = 'echo it talks; exec sleep 1000';

  beforeAll(async () => {
    await bare.start();
    bare.importImages(pauseImage(), busyboxImage());
    other.writeManifest('one.yaml', JSON.stringify(pod('one', script)));
    other.start();
  });

  afterAll(async () => {
    await other.stop();
    await bare.crash();
    bare.remove();
  });

  it('runs the pods of the directory, and answers ps, logs and exec', async () => {
    await commands.untilPods('it runs', (all) => all.length === 1 && all.every(isReady));
    expect((await commands.ask('ps')).out).toMatch(
      /^NAME .*\ndefault\/one-n2 +1\/1 +Running +0 +\d+s +10\.244\.2\.\d+\n/,
    );
    expect(await commands.ask('logs', 'one')).toMatchObject({ code: 0, out: 'it talks\n' });
    expect(await commands.ask('exec', 'one', '--', 'hostname')).toMatchObject({
      code: 0,
      out: 'one-n2\n',
    });
    expect(other.log).toContain('without an API server: runs the static pods of');
  });

  it('answers root alone', async () => {
    const refused = {
      out: '',
      err: `error: the agent’s socket ${other.adminSocket} may not be used\nhint: it is for the user that the agent runs as: run this as root\n`,
    };
    // The latter two leave 2 to mistakes in the command line.
    for (const [code, ...command] of [
      [2, 'ps'],
      [2, 'status'],
      [1, 'logs', 'one'],
      [1, 'exec', 'one', '--', 'id'],
    ] as const) {
      expect(await commands.askAs(65_534, ...command)).toEqual({ code, ...refused });
    }
    expect((await commands.askAs(0, 'ps')).code).toBe(0);
  });

  it('ends the pod of a manifest that goes, and begins that of one that comes', async () => {
    other.writeManifest('two.yaml', JSON.stringify(pod('two', script)));
    rmSync(join(other.manifests, 'one.yaml'));
    await commands.untilPods('the other one runs alone', (all) => {
      const [only, ...more] = all;
      return only?.name === 'two-n2' && isReady(only) && more.length === 0;
    });
    const { containers } = await bare.connect().runtime.listContainers({});
    const running = containers.filter(({ state }) => state === ContainerState.CONTAINER_RUNNING);
    expect(running.map(({ labels }) => labels['io.kubernetes.pod.name'])).toEqual(['two-n2']);
  });

  it('hides what is the machine’s below /proc, but from who says procMount: Unmasked', async () => {
    const unmasked = {
      name: 'main',
      image: 'docker.io/local/busybox:1',
      securityContext: { procMount: 'Unmasked' },
    };
    const containers = [{ ...unmasked, command: ['sh', '-c', script] }];
    other.writeManifest('open.yaml', JSON.stringify(pod('open', script, { containers })));
    await commands.untilPods('both run', (all) => all.length === 2 && all.every(isReady));
    const below = async (name: string): Promise<Readonly<Record<string, string>>> => {
      const { out } = await commands.ask('exec', name, '--', 'cat', '/proc/mounts');
      const mounts = out
        .trim()
        .split('\n')
        .map((line) => line.split(' '));
      const found = mounts.filter(([, point = '']) => /^\/(?:proc|sys\/firmware)/.test(point));
      return Object.fromEntries(
        found.map(([, point, , options = '']) => [point, options.split(',')[0]]),
      );
    };
    // What of it there is goes by the kernel.
    const hidden = there('interrupts', 'kcore', 'keys', 'timer_list');
    const readOnly = there('bus', 'fs', 'irq', 'sys', 'sysrq-trigger');
    expect(hidden.length).toBeGreaterThan(0);
    const masked = await below('two');
    expect(Object.keys(masked)).toEqual(expect.arrayContaining([...hidden]));
    expect(masked).toMatchObject(Object.fromEntries(readOnly.map((path) => [path, 'ro'])));
    expect(await below('open')).toEqual({ '/proc': 'rw' });
  });
});
