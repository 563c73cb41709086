// What no honest client does, or one that has given up: it harms nobody else, and leaves nothing behind.
import { execFileSync, spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import type { Listener } from '../../src/relay/relay.ts';
import { Stage, eventually, listener, ownNetwork } from './stage.ts';

const hasPython = spawnSync('python3', ['--version']).status === 0;

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
