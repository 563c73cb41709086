// What one change of a listener allows, the next one does not take: several changes, one after the other.
import { once } from 'node:events';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Address } from '../../src/ip/address.ts';
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

  it.each(['closed', 'closed in the same change', 'led elsewhere'] as const)(
    'keeps connections when it is %s, as long as another one of its group leads to their endpoint',
    async (how) => {
      const echo = await stage.endpoint((socket) => void socket.pipe(socket));
      const [a, b] = [await stage.named('a'), await stage.named('b')];
      const brief = { drainSeconds: 0 };
      const web = listener('web', [echo, a], brief, { group: 'web TCP' });
      const other = listener('other', [a, echo], brief, { group: 'web TCP' });
      const stranger = listener('stranger', [echo], brief, { group: 'api TCP' });
      await stage.open(web, stranger);
      const clients: Client[] = [];
      // on each of the workers
      for (let i = 0; i < 24; i++) clients.push(await stage.client(web));
      const held: Client[] = [];
      for (const client of clients) {
        client.read().socket.write('first');
        await eventually(() => client.text !== '' || client.isEnded);
        if (client.text === 'first') held.push(client);
        else client.socket.end();
      }
      expect(held).toHaveLength(12);
      if (how === 'closed in the same change') {
        await stage.relay.change({ close: [web.key], open: [other] });
      } else {
        await stage.open(other);
        if (how === 'closed') await stage.relay.change({ close: [web.key], open: [] });
        else await stage.open({ ...web, ...to([a], brief) });
      }
      for (const client of held) await exchange(client, 'stays');
      // nothing of it changes
      await stage.open({ ...other, ...to([b, echo], brief) });
      for (const client of held) await exchange(client, 'still');
      await stage.open({ ...other, ...to([b], brief) });
      await eventually(() => held.every(({ error }) => error === 'ECONNRESET'));
      await eventually(() =>
        how === 'led elsewhere'
          ? stage.stats('web').active === 0
          : !stage.relay.stats().has(web.key),
      );
    },
  );

  it('gives connections their time when the listener that was to keep them cannot be opened', async () => {
    const echo = await stage.endpoint((socket) => void socket.pipe(socket));
    const web = listener('web', [echo], { drainSeconds: 0 }, { group: 'web TCP' });
    await stage.open(web);
    const client = await stage.client(web);
    await exchange(client, 'first');
    const next = listener(
      'next',
      [echo],
      { drainSeconds: 0 },
      { group: 'web TCP', address: '192.0.2.1' as Address },
    );
    const failures = await stage.relay.change({ close: [web.key], open: [next] });
    expect(failures).toMatchObject([{ key: next.key, code: 'EADDRNOTAVAIL' }]);
    await eventually(() => client.error === 'ECONNRESET');
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
