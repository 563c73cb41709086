// A relay that clients come to in numbers says so, once, and V8 is given room (src/cli/heap.ts).
import net from 'node:net';
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Listener } from '../../src/relay/relay.ts';
import { RelayProcess } from './relay-process.ts';
import { Stage, eventually, listener, ownNetwork } from './stage.ts';

/** Clients that come at once, and have been answered and left. */
async function crowd(to: Listener, clients: number): Promise<void> {
  const visits = Array.from({ length: clients }, async () => {
    const socket = net.connect({ port: to.port, host: to.address });
    socket.resume();
    await once(socket, 'close');
  });
  await Promise.all(visits);
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
    await crowd(web, 100);
    await relay.stats();
    expect(said()).toEqual([]);
    // A machine that is slow lets fewer come in a second.
    await eventually(async () => {
      await crowd(web, 700);
      await relay.stats();
      return said().length > 0;
    });
    await crowd(web, 1400);
    await relay.stats();
    expect(said()).toMatchObject([{ level: 'debug' }]);
  });
});
