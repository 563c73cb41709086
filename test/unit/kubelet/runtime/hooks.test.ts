import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';

import type { Hook } from '../../../../src/kubelet/pod/container.ts';
import { runHook } from '../../../../src/kubelet/runtime/hooks.ts';
import type { HookSurroundings } from '../../../../src/kubelet/runtime/hooks.ts';
import { VirtualClock, settle } from '../../proxy/virtual-clock.ts';
import { container, pod } from './made-pods.ts';

/** What containers ask for after their start and before their end. */

let server: Server;
let port: number;
let asked: string[];
let events: string[];
const clock = new VirtualClock();

beforeEach(async () => {
  asked = [];
  events = [];
  server = createServer((request, response) => {
    asked.push(
      `${request.method} ${request.url} ${request.headers['user-agent']} ${request.headers.authorization}`,
    );
    response.writeHead(500).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function run(hook: Hook, exitCode = 0, signal = new AbortController().signal): Promise<void> {
  const target = {
    pod: pod(),
    container: container('app', { ports: [{ name: 'web', containerPort: port, protocol: 'TCP' }] }),
    containerId: 'c1',
    podIP: '127.0.0.1',
  };
  const execSync = async ({ cmd = [] }: { cmd?: string[] }): Promise<unknown> => {
    asked.push(cmd.join(' '));
    return { stdout: Buffer.from('no '), stderr: Buffer.from('luck'), exitCode };
  };
  const around: HookSurroundings = {
    runtime: { execSync } as unknown as HookSurroundings['runtime'],
    clock,
    events: { tell: (_, { type, reason }) => void events.push(`${type} ${reason}`) },
    userAgent: 'kube-lifecycle/1.37',
  };
  await runHook(hook, target, around, signal);
}

const get = { path: '/stop', port: 'web', scheme: 'HTTP' } as const;

test("http: any answer will do, at the pod's own address and a port by its name", async () => {
  await run({ httpGet: get });
  expect(asked).toEqual(['GET /stop kube-lifecycle/1.37 undefined']);
});

test('http: where nobody answers it has failed', async () => {
  await expect(run({ httpGet: { ...get, host: '127.0.0.1', port: 1 } })).rejects.toThrow(
    /ECONNREFUSED/,
  );
});

test('https to a server that has no TLS: once more without, and without what is secret', async () => {
  const httpHeaders = [{ name: 'Authorization', value: 'secret' }];
  await run({ httpGet: { ...get, scheme: 'HTTPS', httpHeaders } });
  expect(asked).toEqual(['GET /stop kube-lifecycle/1.37 undefined']);
  expect(events).toEqual(['Warning LifecycleHTTPFallback']);
});

test('exec: its exit code counts, and what it said is told', async () => {
  await run({ exec: { command: ['stop', 'now'] } });
  expect(asked).toEqual(['stop now']);
  await expect(run({ exec: { command: ['stop'] } }, 3)).rejects.toThrow(/exited with 3: no luck/);
});

test('sleep: so long, or until its time is cut', async () => {
  let over = false;
  const sleeping = run({ sleep: { seconds: 5 } }).then(() => (over = true));
  await clock.advance(4999);
  expect(over).toBe(false);
  await clock.advance(1);
  await sleeping;
  const cut = new AbortController();
  const rejected = run({ sleep: { seconds: 5 } }, 0, cut.signal);
  await settle();
  cut.abort(new Error('no time left'));
  await expect(rejected).rejects.toThrow(/no time left/);
});
