// The health and the metrics server move to where a configuration wants them, and to nowhere else.
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BindConfig } from '../../../src/config/proxy-config.ts';
import type { Address } from '../../../src/ip/address.ts';
import { ProcessServers } from '../../../src/proxy/process-servers.ts';
import { listen } from '../../../src/telemetry/http-server.ts';
import type { HttpHandler } from '../../../src/telemetry/http-server.ts';
import { silentLog } from '../../../src/telemetry/log.ts';
import { VirtualClock } from './virtual-clock.ts';

const says =
  (text: string): HttpHandler =>
  (_request, response) => {
    response.end(text);
  };

async function freePort(): Promise<number> {
  const listening = await listen({ address: '127.0.0.1', port: 0 }, says(''));
  await listening.close();
  return listening.port;
}

async function answer(port: number): Promise<string> {
  try {
    return await (await fetch(`http://127.0.0.1:${port}/`)).text();
  } catch {
    return 'nobody';
  }
}

const at = (port: number, address = '127.0.0.1'): BindConfig => ({
  address: address as Address,
  port,
});

describe('the servers of the process', () => {
  const listens: string[] = [];
  let servers: ProcessServers;
  let ports: readonly [number, number, number];

  beforeEach(async () => {
    listens.length = 0;
    const info = (fields: object): void => {
      const { port } = fields as { port: number };
      listens.push(String(port));
    };
    servers = new ProcessServers({ clock: new VirtualClock(), log: { ...silentLog, info } });
    ports = [await freePort(), await freePort(), await freePort()];
    servers.answerWith({ health: says('health'), metrics: says('metrics') });
    await place(at(ports[0]), at(ports[1]));
  });

  afterEach(async () => {
    await servers.close();
  });

  async function place(
    healthzBind: BindConfig | undefined,
    metricsBind: BindConfig | undefined,
    bindAddressHardFail = false,
  ): Promise<void> {
    await servers.listenAt({ healthzBind, metricsBind, bindAddressHardFail });
  }

  it('answer for whoever answers last, at the same sockets', async () => {
    expect([await answer(ports[0]), await answer(ports[1])]).toEqual(['health', 'metrics']);
    servers.answerWith({ health: says('other health'), metrics: says('other metrics') });
    await place(at(ports[0]), at(ports[1]));
    expect([await answer(ports[0]), await answer(ports[1])]).toEqual([
      'other health',
      'other metrics',
    ]);
    expect(listens).toEqual([String(ports[0]), String(ports[1])]);
  });

  it('move one by one, also to a wider address of the same port, and end where they are not wanted', async () => {
    await place(at(ports[0]), at(ports[2]));
    expect([await answer(ports[1]), await answer(ports[2])]).toEqual(['nobody', 'metrics']);
    await place(at(ports[0], '0.0.0.0'), at(ports[2]));
    expect(await answer(ports[0])).toBe('health');
    await place(undefined, at(ports[2]));
    expect([await answer(ports[0]), await answer(ports[2])]).toEqual(['nobody', 'metrics']);
    expect(listens).toEqual([ports[0], ports[1], ports[2], ports[0]].map(String));
  });

  it('may change places', async () => {
    await place(at(ports[1]), at(ports[0]), true);
    expect([await answer(ports[0]), await answer(ports[1])]).toEqual(['metrics', 'health']);
  });

  it('all stand where they stood when one of them cannot have its place and that is an error', async () => {
    const taken = await listen({ address: '127.0.0.1', port: ports[2] }, says('somebody'));
    const other = await freePort();
    await expect(place(at(other), at(ports[2]), true)).rejects.toThrow(`port ${ports[2]}`);
    expect([await answer(ports[0]), await answer(ports[1])]).toEqual(['health', 'metrics']);
    expect(await answer(other)).toBe('nobody');
    await taken.close();
  });
});
