// A real kubectl at a pod's own streams and ports: attach, port-forward, and cp of a gibibyte; what stalls never grows the agent.
import { execFile } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask as askHttp } from './ask.ts';
import { hasKubectl, isRunning, KubectlNode } from './kubectl-node.ts';

const node = new KubectlNode();
const run = promisify(execFile);
const gibibyte = 1024 ** 3;
const children: ChildProcessWithoutNullStreams[] = [];

beforeAll(async () => {
  if (!hasKubectl) return;
  // A log of a gibibyte is not rotated.
  await node.start({ configuration: { containerLogMaxSize: '8Gi' } });
});

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  if (hasKubectl) await node.stop();
});

function started(...args: readonly string[]): ChildProcessWithoutNullStreams {
  const child = node.kubectl.spawn(...args);
  children.push(child);
  return child;
}

/** What it says until that has this in it. */
async function said(stream: Readable, word: RegExp): Promise<string> {
  let all = '';
  for await (const part of stream.iterator({ destroyOnReturn: false })) {
    all += String(part);
    if (word.test(all)) return all;
  }
  throw new Error(`it ended, and said ${JSON.stringify(all)}`);
}

async function ended(child: ChildProcessWithoutNullStreams): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode;
  return new Promise((resolve) => void child.once('exit', resolve));
}

describe.skipIf(!hasKubectl)('attach', () => {
  it('joins the streams of what runs, and ends with it', async () => {
    const script = 'while read line; do echo got $line; echo err $line >&2; done; echo end';
    await node.startPod('reader', script, {
      container: { stdin: true, stdinOnce: true },
      spec: { restartPolicy: 'Never' },
    });
    await node.untilPod('reader', 'runs', isRunning);
    const child = started('attach', '-i', 'reader', '--quiet');
    const errors = said(child.stderr, /err hello\n/);
    child.stdin.write('hello\n');
    await said(child.stdout, /got hello\n/);
    await errors;
    child.stdin.end();
    await said(child.stdout, /end\n/);
    expect(await ended(child)).toBe(0);
    await node.untilPod('reader', 'has ended', ({ status }) => status.phase === 'Succeeded');
  });

  it('has the terminal of a container that has one', async () => {
    const script = 'test -t 0 && while read line; do echo got $line; done';
    await node.startPod('terminal', script, { container: { stdin: true, tty: true } });
    await node.untilPod('terminal', 'runs', isRunning);
    const command = node.kubectl.commandLine('attach', '-it', 'terminal', '--quiet');
    const typed = run('timeout', ['60', 'script', '-qec', command, '/dev/null']);
    const told = typed.catch((error: unknown) => error as { stdout: string });
    typed.child.stdin?.write('hello\n');
    await node.cluster.control.until('it has read a line', async () =>
      node.kubectl.ask('logs', 'terminal').then(({ out }) => out.includes('got hello')),
    );
    await node.kubectl.ask('delete', 'pod', 'terminal', '--now');
    expect((await told).stdout).toContain('got hello');
  });
});

describe.skipIf(!hasKubectl).each(['true', 'false'])('port-forward, by WebSocket %s', (sockets) => {
  const name = `web-${sockets}`;
  let port = 0;

  beforeAll(async () => {
    process.env['KUBECTL_PORT_FORWARD_WEBSOCKETS'] = sockets;
    const script = `mkdir /www; echo page ${name} > /www/index.html; httpd -f -p 8080 -h /www & printf '#!/bin/sh\\nexec head -c ${gibibyte} /dev/zero\\n' > /send; chmod +x /send; nc -ll -p 9000 -e /send`;
    await node.startPod(name, script);
    await node.untilPod(name, 'runs', isRunning);
    const child = started('port-forward', `pod/${name}`, ':8080', ':9000');
    const forwards = await said(child.stdout, /127\.0\.0\.1:\d+ -> 9000/);
    ports = new Map(
      [...forwards.matchAll(/127\.0\.0\.1:(\d+) -> (\d+)/g)].map(([, here, there]) => [
        Number(there),
        Number(here),
      ]),
    );
    port = ports.get(8080) ?? 0;
  });
  let ports: ReadonlyMap<number, number> = new Map();

  it('reaches what listens in a pod, again and again, many at a time', async () => {
    await node.cluster.control.until('it answers', async () =>
      askHttp('127.0.0.1', port).then((answer) => answer === `page ${name}`),
    );
    const answers = await Promise.all(
      Array.from({ length: 20 }, async () => askHttp('127.0.0.1', port)),
    );
    expect(new Set(answers)).toEqual(new Set([`page ${name}`]));
  });

  it(
    'that is not read holds up who sends, and not the agent’s memory',
    { timeout: 300_000 },
    async () => {
      const socket = connect(ports.get(9000) ?? 0, '127.0.0.1');
      await new Promise<void>((resolve) => void socket.once('connect', resolve));
      expect(await stalledGrowth()).toBeLessThan(48);
      expect(await countOf(socket)).toBe(gibibyte);
    },
  );
});

/** All that comes. */
async function countOf(stream: Readable | Socket): Promise<number> {
  let count = 0;
  for await (const part of stream) count += (part as Buffer).length;
  return count;
}

/** By how many MiB the agent has grown when something has moved, and nothing moves any more. */
async function stalledGrowth(): Promise<number> {
  const before = residentMiB();
  const begin = written();
  let moved = begin;
  await node.cluster.control.until('what moved has come to a halt', async () => {
    const now = written();
    const isStill = now === moved && now > begin;
    moved = now;
    if (!isStill) await new Promise((resolve) => void setTimeout(resolve, 300));
    return Promise.resolve(isStill);
  });
  return residentMiB() - before;
}

function residentMiB(): number {
  const status = readFileSync(`/proc/${node.kubelet.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

/** In mebibytes: watches and leases go on all the while. */
function written(): number {
  const io = readFileSync(`/proc/${node.kubelet.pid}/io`, 'utf8');
  return Math.floor(Number(/^wchar: (\d+)$/m.exec(io)?.[1]) / 1024 ** 2);
}

describe.skipIf(!hasKubectl)('who does not read', () => {
  it(
    'the output of a command gets all of it later, and no memory of the agent',
    { timeout: 300_000 },
    async () => {
      await node.startPod('shell', 'sleep 3600');
      await node.untilPod('shell', 'runs', isRunning);
      const child = started('exec', 'shell', '--', 'head', '-c', String(gibibyte), '/dev/zero');
      child.stdout.pause();
      expect(await stalledGrowth()).toBeLessThan(48);
      const problems = text(child.stderr);
      expect([await countOf(child.stdout), await problems]).toEqual([gibibyte, '']);
      expect(await ended(child)).toBe(0);
    },
  );

  it('a log that he follows, neither', async () => {
    const line = 'x'.repeat(1023);
    const script = `yes ${line} | head -c ${gibibyte / 4}; echo; echo last; sleep 3600`;
    await node.startPod('chatterer', script);
    await node.untilPod('chatterer', 'runs', isRunning);
    const child = started('logs', '-f', 'chatterer');
    child.stdout.pause();
    expect(await stalledGrowth()).toBeLessThan(48);
    let count = 0;
    let end = '';
    for await (const part of child.stdout) {
      count += (part as Buffer).length;
      end = (end + String(part)).slice(-6);
      if (end === '\nlast\n') break;
    }
    expect(count).toBe(gibibyte / 4 + '\nlast\n'.length);
  });
});

describe.skipIf(!hasKubectl)('cp', () => {
  it('brings a gibibyte there and back, byte for byte', { timeout: 400_000 }, async () => {
    const [machine] = node.cluster.nodes;
    const from = join(machine?.folder ?? '/nowhere', 'big');
    const sum = await writeBig(from);
    try {
      await node.startPod('store', 'sleep 3600');
      await node.untilPod('store', 'runs', isRunning);
      const there = await node.kubectl.askFor(180_000, 'cp', from, 'store:/big');
      expect([there.code, there.err]).toEqual([0, '']);
      const { out } = await node.kubectl.ask('exec', 'store', '--', 'sha256sum', '/big');
      expect(out.split(' ')[0]).toBe(sum);
      await rm(from);
      const back = await node.kubectl.askFor(180_000, 'cp', 'store:/big', from);
      expect([back.code, back.err]).toEqual([0, '']);
      const hash = createHash('sha256');
      for await (const part of createReadStream(from)) hash.update(part as Buffer);
      expect(hash.digest('hex')).toBe(sum);
    } finally {
      await rm(from, { force: true });
    }
  });
});

/** A gibibyte of which no two blocks are the same; gives its SHA-256. */
async function writeBig(path: string): Promise<string> {
  const hash = createHash('sha256');
  const file = await open(path, 'w');
  try {
    const block = randomBytes(16 * 1024 * 1024);
    for (let i = 0; i < gibibyte / block.length; i++) {
      block.writeUInt32LE(i, 0);
      hash.update(block);
      await file.write(block);
    }
  } finally {
    await file.close();
  }
  return hash.digest('hex');
}
