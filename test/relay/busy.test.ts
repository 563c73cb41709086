// A relay that clients come to in numbers says so, once, and V8 is given room (src/cli/heap.ts).
import { once } from 'node:events';
import net from 'node:net';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Listener } from '../../src/relay/relay.ts';
import { RelayProcess } from './relay-process.ts';
import { Stage, eventually, listener, ownNetwork } from './stage.ts';

/** Clients that come at once: they wait at the relay's socket while it stands still. Resolves when all were answered. */
async function crowd(relay: RelayProcess, to: Listener, clients: number): Promise<void> {
  process.kill(relay.pid, 'SIGSTOP');
  const sockets = Array.from({ length: clients }, () =>
    net.connect({ port: to.port, host: to.address }).resume(),
  );
  const left = sockets.map(async (socket) => once(socket, 'close'));
  await Promise.all(sockets.map(async (socket) => once(socket, 'connect')));
  process.kill(relay.pid, 'SIGCONT');
  await Promise.all(left);
}

describe.skipIf(!ownNetwork)('a relay with much to do', () => {
  let stage: Stage;
  let relay: RelayProcess;
  let web: Listener;

  beforeEach(async () => {
    stage = new Stage();
    relay = new RelayProcess({ workers: 1 });
    web = listener('web', [await stage.named('a')]);
    await relay.open(web);
  });

  afterEach(async () => {
    await relay.close();
    await stage.close();
  });

  it('says so once, and not before', async () => {
    const said = () => relay.log.filter(({ message }) => message.startsWith('much to do'));
    await crowd(relay, web, 100);
    await relay.stats();
    expect(said()).toEqual([]);
    // A machine that is slow may let in fewer a second.
    await eventually(async () => {
      await crowd(relay, web, 1200);
      await relay.stats();
      return said().length > 0;
    });
    await crowd(relay, web, 1200);
    await relay.stats();
    expect(said()).toMatchObject([{ level: 'debug' }]);
  });
});
