// Profiles of the process, and its verbosity, over HTTP.
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/clock.ts';
import { errorText } from '../../../src/error.ts';
import { listen } from '../../../src/telemetry/http-server.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { createLogger } from '../../../src/telemetry/logger.ts';
import { profilingHandler } from '../../../src/telemetry/profiling.ts';
import type { Verbosity } from '../../../src/telemetry/profiling.ts';

const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function serve(verbosity: Verbosity = { get: () => 0, set: () => {} }): Promise<string> {
  const handler = profilingHandler({ clock: systemClock, log: silentLog, verbosity });
  const server = await listen({ address: '127.0.0.1', port: 0 }, (request, response) => {
    void handler(request, response);
  });
  closing.push(async () => server.close());
  return `http://127.0.0.1:${server.port}`;
}

const patient = { timeout: 30_000 };

describe('profiles', () => {
  it('are listed with their formats', async () => {
    const text = await (await fetch(`${await serve()}/debug/pprof/`)).text();
    expect(text).toContain('/debug/pprof/profile?seconds=30   CPU, a .cpuprofile\n');
  });

  it('of the CPU are what developer tools read', async () => {
    const answer = await fetch(`${await serve()}/debug/pprof/profile?seconds=0.05`);
    expect(answer.headers.get('content-disposition')).toContain('switchyard.cpuprofile');
    const profile = (await answer.json()) as { nodes: unknown[]; startTime: number };
    expect(profile.nodes.length).toBeGreaterThan(0);
    expect(Object.keys(profile)).toEqual(
      expect.arrayContaining(['nodes', 'startTime', 'endTime', 'samples', 'timeDeltas']),
    );
  });

  it('of allocations are a sampled heap profile', async () => {
    const answer = await fetch(`${await serve()}/debug/pprof/allocs?seconds=0.05`);
    expect(Object.keys((await answer.json()) as object)).toEqual(
      expect.arrayContaining(['head', 'samples']),
    );
  });

  it('of the heap say what fills it', async () => {
    const answer = await fetch(`${await serve()}/debug/pprof/statistics`);
    expect(await answer.json()).toMatchObject({
      memory: { rss: expect.any(Number) as number },
      heap: { used_heap_size: expect.any(Number) as number },
    });
  });

  it.each(['10.244.0.7', '::ffff:192.0.2.1', 'fd00::1', '::127.0.0.1'])(
    'of all that is on the heap, credentials included, are not for %s',
    async (remoteAddress) => {
      const verbosity = { get: () => 0, set: () => {} };
      const handler = profilingHandler({ clock: systemClock, log: silentLog, verbosity });
      const server = await listen({ address: '127.0.0.1', port: 0 }, (request, response) => {
        Object.defineProperty(request.socket, 'remoteAddress', { value: remoteAddress });
        void handler(request, response);
      });
      closing.push(async () => server.close());
      const answer = await fetch(`http://127.0.0.1:${server.port}/debug/pprof/heap`);
      expect(answer.status).toBe(403);
      expect(await answer.text()).toContain('ask from the node itself');
    },
  );

  it('are taken one at a time', async () => {
    const url = await serve();
    const give = new AbortController();
    const first = fetch(`${url}/debug/pprof/profile?seconds=600`, { signal: give.signal });
    const ended = first.catch((error: unknown) => errorText(error));
    await expect
      .poll(async () => (await fetch(`${url}/debug/pprof/allocs?seconds=0.01`)).status, patient)
      .toBe(409);
    give.abort();
    expect(await ended).toContain('aborted');
    // a client that went away ends its profile
    await expect
      .poll(async () => (await fetch(`${url}/debug/pprof/allocs?seconds=0.01`)).status, patient)
      .toBe(200);
  });

  it.each(['', '0', '-1', '601', 'x'])('of %j seconds are refused', async (seconds) => {
    const answer = await fetch(`${await serve()}/debug/pprof/profile?seconds=${seconds}`);
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain('expected a number above 0, 600 at most');
  });

  it('that nobody knows are not found', async () => {
    expect((await fetch(`${await serve()}/debug/pprof/goroutine`)).status).toBe(404);
  });
});

describe('the verbosity', () => {
  it('is read and changed at /debug/flags/v, and counts at once', async () => {
    const lines: string[] = [];
    const destination = { write: (line: string) => void lines.push(line) };
    const log = await createLogger({ format: 'json', verbosity: 0, terminal: false, destination });
    const url = `${await serve(log.verbosity)}/debug/flags/v`;
    log.debug({}, 'before');
    const answer = await fetch(url, { method: 'PUT', body: '4\n' });
    expect([answer.status, await answer.text()]).toEqual([
      200,
      'successfully set logging.verbosity to 4\n',
    ]);
    log.debug({}, 'after');
    expect(await (await fetch(url)).text()).toBe('4\n');
    await fetch(url, { method: 'PUT', body: '1' });
    log.debug({}, 'quiet again');
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(['after']);
  });

  it.each([
    ['PUT', 'loud', 400],
    ['PUT', '-1', 400],
    ['PUT', '9'.repeat(200), 400],
    ['POST', '2', 405],
  ])('is not changed by %s %s', async (method, body, status) => {
    let changed = false;
    const url = await serve({ get: () => 0, set: () => (changed = true) });
    const init = { method, body };
    const answer = await fetch(`${url}/debug/flags/v`, init);
    expect([answer.status, changed]).toEqual([status, false]);
  });
});
