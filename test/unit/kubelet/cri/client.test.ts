// The client of the container runtime: deadlines a call, errors that name it, and a socket that comes and goes.
import { rmSync } from 'node:fs';
import { createServer } from 'node:http2';
import type { Http2Server } from 'node:http2';
import { join } from 'node:path';
import { Code, ConnectError } from '@connectrpc/connect';
import type { ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../../src/clock.ts';
import type { Clock } from '../../../../src/clock.ts';
import { checkVersion, connectCri } from '../../../../src/kubelet/cri/client.ts';
import type { CriError } from '../../../../src/kubelet/cri/cri-error.ts';
import { isNotFound, isUnreachable } from '../../../../src/kubelet/cri/cri-error.ts';
import { ImageService, RuntimeService } from '../../../../src/kubelet/cri/gen/api_pb.ts';
import { ownFolder } from '../../../support/own-folder.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

function socket(): string {
  const folder = ownFolder('switchyard-cri');
  closers.push(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'cri.sock');
}

async function serve(path: string, routes: (router: ConnectRouter) => void): Promise<() => void> {
  const server: Http2Server = createServer(connectNodeAdapter({ routes }));
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => sessions.add(session));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const close = (): void => {
    server.close();
    for (const session of sessions) session.destroy();
  };
  closers.push(close);
  return close;
}

const v1 = (router: ConnectRouter): void => {
  router.service(RuntimeService, {
    version: () => ({ runtimeApiVersion: 'v1', runtimeName: 'containerd', runtimeVersion: '1.6' }),
  });
};

const hang = async (): Promise<never> => new Promise(() => {});

/** Sleeps end when the test says which. */
class SteppedClock implements Clock {
  readonly asked: { readonly ms: number; readonly end: () => void }[] = [];
  now(): number {
    return 0;
  }
  monotonic(): number {
    return 0;
  }
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      this.asked.push({ ms, end: resolve });
      signal?.addEventListener('abort', () => {
        resolve();
      });
    });
  }
}

describe('a runtime at a socket', () => {
  it('says its version, and one of another is refused', async () => {
    const path = socket();
    await serve(path, v1);
    const cri = connectCri(`unix://${path}`, systemClock);
    expect(await checkVersion(cri)).toEqual({ name: 'containerd', version: '1.6' });
    const other = socket();
    await serve(other, (router) => {
      router.service(RuntimeService, { version: () => ({ runtimeApiVersion: 'v2' }) });
    });
    await expect(checkVersion(connectCri(other, systemClock))).rejects.toThrow(/v1 is needed/);
  });

  it('is missing while there is no socket, and there with the first call after it came', async () => {
    const path = socket();
    const cri = connectCri(`unix://${path}`, systemClock);
    const failed: unknown = await cri.runtime.version({}).catch((thrown: unknown) => thrown);
    expect(isUnreachable(failed)).toBe(true);
    expect(String(failed)).toContain(
      `Version: no container runtime answers at unix://${path} (ENOENT)`,
    );
    const close = await serve(path, v1);
    expect((await cri.runtime.version({})).runtimeName).toBe('containerd');
    close();
    await expect
      .poll(async () => cri.runtime.version({}).then(() => 'up', isUnreachable))
      .toBe(true);
    await serve(path, v1);
    expect((await cri.runtime.version({})).runtimeName).toBe('containerd');
  });

  it('may be nothing but a Unix socket', () => {
    expect(() => connectCri('tcp://127.0.0.1:1', systemClock)).toThrow(/only a Unix socket/);
  });
});

describe('a call', () => {
  it('that the runtime refuses has its code and words', async () => {
    const path = socket();
    await serve(path, (router) => {
      router.service(RuntimeService, {
        startContainer: () => {
          throw new ConnectError('no such container', Code.NotFound);
        },
      });
    });
    const cri = connectCri(path, systemClock);
    const failed: unknown = await cri.runtime
      .startContainer({ containerId: 'c' })
      .catch((thrown: unknown) => thrown);
    expect(isNotFound(failed)).toBe(true);
    expect(failed).toMatchObject({ message: 'StartContainer: no such container' });
    expect((failed as CriError).rpcText).toBe(
      'rpc error: code = NotFound desc = no such container',
    );
  });

  it.each([
    ['Version', 120_000],
    ['RunPodSandbox', 240_000],
    ['StopContainer', 150_000],
    ['ExecSync', 125_000],
  ] as const)('%s has a deadline of %i ms by the clock', async (name, ms) => {
    const path = socket();
    await serve(path, (router) => {
      router.service(RuntimeService, {
        version: hang,
        runPodSandbox: hang,
        stopContainer: hang,
        execSync: hang,
      });
    });
    const clock = new SteppedClock();
    const { runtime } = connectCri(path, clock);
    const calls = {
      Version: async () => runtime.version({}),
      RunPodSandbox: async () => runtime.runPodSandbox({}),
      StopContainer: async () => runtime.stopContainer({ timeout: 30n }),
      ExecSync: async () => runtime.execSync({ timeout: 5n }),
    };
    const call = calls[name]();
    expect(clock.asked.map((sleep) => sleep.ms)).toEqual([ms]);
    for (const { end } of clock.asked) end();
    await expect(call).rejects.toMatchObject({
      message: `${name}: no answer within ${ms / 1000} s`,
      grpcCode: Code.DeadlineExceeded,
      code: 'timeout',
    });
  });

  it('that may take its time has no deadline: a pull, a hook without a timeout', async () => {
    const path = socket();
    await serve(path, (router) => {
      router.service(RuntimeService, { execSync: () => ({ exitCode: 3 }) });
      router.service(ImageService, { pullImage: () => ({ imageRef: 'x' }) });
    });
    const clock = new SteppedClock();
    const cri = connectCri(path, clock);
    expect((await cri.runtime.execSync({ timeout: 0n })).exitCode).toBe(3);
    expect((await cri.images.pullImage({})).imageRef).toBe('x');
    expect(clock.asked).toEqual([]);
  });

  it('that its caller gave up throws what the caller gave', async () => {
    const path = socket();
    await serve(path, (router) => {
      router.service(RuntimeService, { version: hang });
    });
    const given = new AbortController();
    const call = connectCri(path, systemClock).runtime.version({}, { signal: given.signal });
    given.abort(new Error('shorter grace'));
    await expect(call).rejects.toThrow('shorter grace');
  });
});
