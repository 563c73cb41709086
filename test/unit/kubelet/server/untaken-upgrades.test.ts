// An upgrade that is refused, or that nobody decides on, does not keep its connection, whatever its client does.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { Exchanges } from '../../../../src/kubelet/server/exchanges.ts';
import type { ExchangesOptions } from '../../../../src/kubelet/server/exchanges.ts';
import type { Routes } from '../../../../src/kubelet/server/routes.ts';
import { sayText } from '../../../../src/kubelet/server/say.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { until } from '../../informer/widgets.ts';

const times = { waitMs: 60_000, stuckMs: 60_000, lingerMs: 20 };
const clients: Socket[] = [];
let server: Server;
let exchanges: Exchanges;

afterEach(async () => {
  for (const each of clients.splice(0)) each.destroy();
  exchanges.stop();
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
});

async function serve(
  answer: Routes['answer'],
  options: Partial<ExchangesOptions> = {},
): Promise<void> {
  server = createServer();
  const routes: Routes = { upgrades: () => true, answer };
  exchanges = new Exchanges({ routes, log: silentLog, untaken: times, ...options });
  exchanges.attach(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
}

/** A client that asks for an upgrade and never ends its side. */
async function client(more = ''): Promise<{ readonly said: () => string }> {
  const { port } = server.address() as AddressInfo;
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  clients.push(socket);
  let said = '';
  socket.on('error', () => {}).on('data', (bytes: Buffer) => void (said += bytes.toString()));
  await once(socket, 'connect');
  socket.write(
    `POST /exec HTTP/1.1\r\nHost: n1\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n${more}`,
  );
  return { said: () => said };
}

async function count(): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, found) => {
      if (error === null) resolve(found);
      else reject(error);
    });
  });
}

async function untilNoneIsOpen(): Promise<void> {
  let open = -1;
  const look = (): void => void count().then((found) => (open = found));
  await until('no connection is open', () => open === 0, look);
}

test('those who are not let in are told so, and are gone', async () => {
  await serve(async () => Promise.reject(new Error('nobody is let in')), {
    letIn: async (_request, response) => {
      sayText(response, 401, 'Unauthorized');
      return Promise.resolve(false);
    },
  });
  const all = await Promise.all(Array.from({ length: 20 }, async () => client()));
  await untilNoneIsOpen();
  await until('all are told', () => all.every(({ said }) => said().includes('Unauthorized')));
  for (const { said } of all) expect(said()).toMatch(/^HTTP\/1.1 401 /);
});

test('what a client sent already does not take the answer from it', async () => {
  await serve(async ({ response }) => {
    sayText(response, 404, 'pod does not exist');
    return Promise.resolve();
  });
  const { said } = await client('x'.repeat(300_000));
  await untilNoneIsOpen();
  await until('it is told', () => said().includes('pod does not exist'));
  expect(said()).toMatch(/^HTTP\/1.1 404 /);
});

test('one that nobody decides on ends at its time', async () => {
  let isGone = false;
  const never: Routes['answer'] = async ({ signal }) => {
    await once(signal, 'abort');
    isGone = true;
  };
  await serve(never, { untaken: { ...times, waitMs: 20 } });
  await client();
  await untilNoneIsOpen();
  expect(isGone).toBe(true);
});

test('one that is taken has no such time', async () => {
  let taken: Socket | undefined;
  const take: Routes['answer'] = async (exchange) => {
    taken = exchange.take?.().socket as Socket;
    return Promise.resolve();
  };
  await serve(take, { untaken: { ...times, waitMs: 20 } });
  await client();
  await until('it is taken', () => taken !== undefined);
  expect([taken?.timeout, taken?.listenerCount('timeout')]).toEqual([0, 0]);
});
