import type { Server, Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { HttpServer, listen, requestUrl } from '../../../src/telemetry/http-server.ts';
import type { HttpHandler } from '../../../src/telemetry/http-server.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { VirtualClock, settle } from '../proxy/virtual-clock.ts';

const ok: HttpHandler = (_, response) => {
  response.end('ok');
};

function server(port: number, hardFail: boolean, errors: string[] = []) {
  const clock = new VirtualClock();
  const log = { ...silentLog, error: (_: object, message: string) => void errors.push(message) };
  const address = '127.0.0.1';
  return {
    clock,
    http: new HttpServer({ name: 'test server', address, port, handler: ok, log, clock, hardFail }),
  };
}

describe('a server of the agent', () => {
  it('answers until it is stopped, then frees its port', async () => {
    const { http } = server(0, true);
    await http.start();
    const { port } = http;
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('ok');
    await http.stop();
    await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow('fetch failed');
  });

  it('tells loudly that its port is taken, and has it once it is free', async () => {
    const taken = await listen({ address: '127.0.0.1', port: 0 }, ok);
    const errors: string[] = [];
    const { http, clock } = server(taken.port, false, errors);
    await http.start();
    expect(errors[0]).toContain(`test server: cannot listen on 127.0.0.1 port ${taken.port}`);
    expect(http.port).toBeUndefined();
    await taken.close();
    await clock.advance(5000);
    await expect.poll(() => http.port).toBe(taken.port);
    await http.stop();
  });

  it('stops while it waits for its port', async () => {
    const taken = await listen({ address: '127.0.0.1', port: 0 }, ok);
    const { http } = server(taken.port, false);
    await http.start();
    await settle();
    await http.stop();
    expect(http.port).toBeUndefined();
    await taken.close();
  });

  it('lives on where one client cannot be let in', async () => {
    let inner: Server | undefined;
    const listening = await listen({ address: '127.0.0.1', port: 0 }, (request, response) => {
      ({ server: inner } = request.socket as Socket & { readonly server: Server });
      ok(request, response);
    });
    const ask = async () => (await fetch(`http://127.0.0.1:${listening.port}/`)).text();
    expect(await ask()).toBe('ok');
    expect(() => inner?.emit('error', new Error('accept EMFILE'))).not.toThrow();
    expect(await ask()).toBe('ok');
    await listening.close();
  });

  it('with hard fail does not start on a taken port', async () => {
    const taken = await listen({ address: '127.0.0.1', port: 0 }, ok);
    await expect(server(taken.port, true).http.start()).rejects.toMatchObject({ code: 'missing' });
    await taken.close();
  });

  it('goes on whatever a request makes of who answers', async () => {
    const broken = await listen({ address: '127.0.0.1', port: 0 }, () => {
      throw new Error('not this one');
    });
    const answer = await fetch(`http://127.0.0.1:${broken.port}/`);
    expect([answer.status, await answer.text()]).toEqual([500, 'not this one\n']);
    await broken.close();
  });
});

describe('where a request goes', () => {
  it.each([
    ['/healthz?verbose', '/healthz'],
    ['http://node:10256/livez', '/livez'],
    ['//', '//'],
    ['//x:99999', '//x:99999'],
    ['http://[', '/'],
  ])('%s: %s', (url, pathname) => {
    expect(requestUrl({ url }).pathname).toBe(pathname);
  });
});
