// What one change of a listener allows, the next one does not take: several changes, one after the other.
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RelayEndpoint, RelayPool } from '../../src/relay/relay.ts';
import { Stage, eventually, listener, ownNetwork, poolOf } from './stage.ts';
import type { Client } from './stage.ts';

describe.skipIf(!ownNetwork)('a listener that changes again and again', () => {
  let stage: Stage;

  beforeEach(() => {
    stage = new Stage({ workers: 3 });
  });

  afterEach(async () => {
    await stage.close();
  });

  it('leaves connections to an endpoint that left their time, whatever else changes', async () => {
    const echo = await stage.endpoint((socket) => void socket.pipe(socket));
    const [a, b] = [await stage.named('a'), await stage.named('b')];
    const web = listener('web', [echo]);
    await stage.open(web);
    const client = await stage.client(web);
    await exchange(client, 'first');
    for (const endpoints of [[a], [a, b], [b]]) await stage.open({ ...web, ...to(endpoints) });
    await exchange(client, 'last');
  });

  it('leaves them their time when the listener goes, too', async () => {
    const echo = await stage.endpoint((socket) => void socket.pipe(socket));
    const web = listener('web', [echo], { drainSeconds: 1000 });
    const brief = listener('brief', [echo], { drainSeconds: 0 });
    await stage.open(web, brief);
    const client = await stage.client(web);
    await exchange(client, 'first');
    const others = await Promise.all(Array.from({ length: 12 }, async () => stage.client(brief)));
    for (const other of others) await exchange(other, 'here');
    await stage.open({ ...web, ...to([await stage.named('a')]) });
    await stage.relay.change({ close: [web.key, brief.key], open: [] });
    await eventually(() => others.every(({ error }) => error === 'ECONNRESET'));
    await exchange(client, 'last');
  });

  it('never stops listening when affinity makes one worker of many', async () => {
    const endpoints = [await stage.named('a')];
    const listeners = Array.from({ length: 20 }, (_, i) => listener(`web${i}`, endpoints));
    await stage.open(...listeners);
    const done = new AbortController();
    const askAll = listeners.map(async (web) => {
      const answers = new Set<string>();
      do answers.add(await stage.ask(web));
      while (!done.signal.aborted);
      return [...answers];
    });
    for (const web of listeners) {
      // not admitted anew: it stands where it stood
      const open = [{ ...web, ...to(endpoints, { affinitySeconds: 60 }) }];
      expect(await stage.relay.change({ close: [], open })).toEqual([]);
    }
    done.abort();
    // Whoever waits at the socket of another worker in that moment is reset by the kernel.
    const others = new Set((await Promise.all(askAll)).flat());
    others.delete('ECONNRESET');
    expect([...others]).toEqual(['a']);
    for (const web of listeners) expect(await stage.ask(web)).toBe('a');
  });
});

/** Routes to some endpoints. */
function to(endpoints: readonly RelayEndpoint[], pool: Partial<RelayPool> = {}) {
  return { routes: [{ sources: undefined, to: poolOf(endpoints, pool) }] };
}

/** Sends a word, and waits until it comes back. */
async function exchange(client: Client, word: string): Promise<void> {
  client.read();
  if (!client.socket.write(word)) await once(client.socket, 'drain');
  await eventually(() => client.text.endsWith(word));
  expect(client.error).toBeUndefined();
}
