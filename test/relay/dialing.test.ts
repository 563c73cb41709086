import { execFileSync } from 'node:child_process';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Address } from '../../src/ip/address.ts';
import type { RelayEndpoint } from '../../src/relay/relay.ts';
import { Stage, eventually, listener, ownNetwork } from './stage.ts';

/** Packets to it go to a device whose other end nobody reads. */
const silent: RelayEndpoint = { address: '198.51.100.9' as Address, port: 80, weight: 1 };

/** A client's wait for an endpoint that does not answer at once. */
describe.skipIf(!ownNetwork).each(['handles', 'sockets'] as const)('a slow dial by %s', (wires) => {
  let stage: Stage;

  beforeAll(() => {
    ip('link add name void type veth peer name void-end');
    ip('link set void up');
    ip('link set void-end up');
    ip('address add 198.51.100.1/24 dev void');
    ip('neighbor add 198.51.100.9 lladdr 02:00:00:00:00:09 dev void');
  });

  afterAll(() => {
    ip('link del void');
  });

  beforeEach(() => {
    stage = new Stage({ wires, workers: 1 });
  });

  afterEach(async () => {
    await stage.close();
  });

  it('goes on with the next endpoint, and brings what the client has sent meanwhile', async () => {
    let heard = '';
    const answers = await stage.endpoint((socket) => {
      socket.on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')));
      socket.on('end', () => socket.end(`${heard.length} bytes`));
    });
    // Two of the silent one: whoever has the first turn, a try fails before one succeeds, for one client at least.
    const web = listener('web', [silent, answers]);
    await stage.open(web);
    const bytes = 'early'.repeat(40_000);
    for (const client of [await stage.client(web), await stage.client(web)]) {
      heard = '';
      client.socket.end(bytes);
      expect(await client.whole()).toBe(`${bytes.length} bytes`);
      expect(heard).toBe(bytes);
    }
    const { retries, dialFailures } = stage.stats('web');
    expect(retries).toBeGreaterThan(0);
    expect(dialFailures).toMatchObject({ timeout: retries, refused: 0 });
  });

  it('keeps no more than it may of what comes early', async () => {
    const web = listener('web', [silent]);
    await stage.open(web);
    const client = await stage.client(web);
    let sent = 0;
    const send = (): void => {
      client.socket.write(Buffer.alloc(65_536), (error) => {
        sent += 65_536;
        if (!error && sent < 2 ** 30) send();
      });
    };
    send();
    await eventually(() => client.error !== undefined);
    expect(sent).toBeLessThan(2 ** 25);
    expect(stage.stats('web')).toMatchObject({
      refused: 1,
      retries: 3,
      dialFailures: { timeout: 4 },
    });
  });

  it('is given up when the client is gone', async () => {
    const web = listener('web', [silent]);
    await stage.open(web);
    const client = await stage.client(web);
    client.socket.write('a word');
    await eventually(() => stage.stats('web').active === 1);
    client.socket.resetAndDestroy();
    await eventually(() => stage.stats('web').active === 0);
    expect(stage.stats('web')).toMatchObject({ connections: 1, refused: 0 });
    expect(stage.stats('web').dialFailures.timeout).toBeLessThan(4);
  });

  it('goes on for a client that has only ended its own part', async () => {
    const web = listener('web', [silent, await stage.named('a')]);
    await stage.open(web);
    for (const client of [await stage.client(web), await stage.client(web)]) {
      client.socket.end();
      expect(await client.whole()).toBe('a');
    }
  });
});

function ip(command: string): void {
  execFileSync('ip', command.split(' '));
}
