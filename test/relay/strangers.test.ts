// What no honest client does, or one that has given up: it harms nobody else, and leaves nothing behind.
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Listener } from '../../src/relay/relay.ts';
import { RelayProcess } from './relay-process.ts';
import { Stage, eventually, listener, ownNetwork } from './stage.ts';

/** What a PROXY header of version 2 begins with. */
const signature = '\r\n\r\n\0\r\nQUIT\n';
const hasPython = spawnSync('python3', ['--version']).status === 0;

describe.skipIf(!ownNetwork).each(['handles', 'sockets'] as const)('clients by %s', (wires) => {
  let stage: Stage;
  let relay: RelayProcess | undefined;

  beforeEach(() => {
    stage = new Stage({ wires, workers: 1 });
  });

  afterEach(async () => {
    await relay?.close();
    await stage.close();
  });

  it('that are gone before they are let in cannot write a PROXY header of their own', async () => {
    relay = new RelayProcess({ wires, workers: 1 });
    const heard: string[] = [];
    const endpoint = await stage.endpoint((socket) => {
      socket.once('data', (chunk: Buffer) => heard.push(chunk.toString('latin1')));
    });
    const web = listener('web', [endpoint], { proxyProtocol: true });
    await relay.open(web);
    for (let i = 0; i < 10; i++) {
      process.kill(relay.pid, 'SIGSTOP'); // the kernel takes clients in its place
      try {
        const { socket } = await stage.client(web);
        await new Promise((resolve) => socket.write('forged', resolve));
        socket.resetAndDestroy();
        await once(socket, 'close');
      } finally {
        process.kill(relay.pid, 'SIGCONT');
      }
    }
    const honest = await stage.client(web);
    honest.socket.write('honest');
    await eventually(() => heard.some((text) => text.endsWith('honest')));
    expect(heard.filter((text) => !text.startsWith(signature))).toEqual([]);
    honest.socket.resetAndDestroy();
    await eventually(async () => (await relay?.stats())?.get('web')?.active === 0);
  });

  // Node's streams ask for a peer's address once.
  it.skipIf(wires === 'sockets')('that give up while their endpoint does not read', async () => {
    const stalled = await stage.endpoint((socket) => void socket.pause());
    const web = listener('web', [stalled]);
    await stage.open(web);
    const { socket } = await stage.client(web);
    let sent = 0;
    const send = (): void => {
      socket.write(Buffer.alloc(65_536), (error) => {
        sent++;
        if (!error) send();
      });
    };
    send();
    let last = -1;
    await eventually(async () => {
      const isStill = last === sent;
      last = sent;
      await new Promise((resolve) => setTimeout(resolve, 200));
      return isStill;
    });
    socket.resetAndDestroy();
    await eventually(() => stage.stats('web').active === 0, 30_000);
  });

  it.skipIf(wires === 'sockets')('that give up after they have ended their part', async () => {
    let hasEnded = false;
    const silent = await stage.endpoint((socket) => {
      socket.on('end', () => (hasEnded = true));
      socket.resume();
    });
    const web = listener('web', [silent]);
    await stage.open(web);
    const { socket } = await stage.client(web);
    socket.end('question');
    await eventually(() => hasEnded);
    socket.resetAndDestroy();
    await eventually(() => stage.stats('web').active === 0, 30_000);
  });
});

describe.skipIf(!ownNetwork || !hasPython)('a UDP client without a port', () => {
  it('is heard and not answered, and others are served', async () => {
    const stage = new Stage({ workers: 1 });
    try {
      const heard: string[] = [];
      const endpoint = await stage.udpEndpoint((bytes) => {
        heard.push(bytes.toString());
        return 'answer';
      });
      const to = listener('dns', [endpoint], {}, { protocol: 'UDP' });
      await stage.open(to);
      sendFromPort0(to, 'no answer, please');
      await eventually(() => heard.includes('no answer, please'));
      const socket = await stage.udpSocket();
      const answers: string[] = [];
      socket.on('message', (bytes) => answers.push(bytes.toString()));
      await eventually(() => {
        socket.send('who?', to.port, to.address);
        return answers.includes('answer');
      });
      expect(stage.log).toEqual([]);
    } finally {
      await stage.close();
    }
  });
});

/** A datagram whose source port is 0: no socket of Node sends one. */
function sendFromPort0({ address, port }: Listener, text: string): void {
  const program = `
import socket, struct, sys
address, port, data = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
raw.sendto(struct.pack('!HHHH', 0, port, 8 + len(data), 0) + data, (address, 0))
`;
  execFileSync('python3', ['-c', program, address, `${port}`, text]);
}
