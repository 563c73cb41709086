// The guest reaches what listens on the loopback address of the namespace outside it, where a test may have an API
// server at full speed.
import { connect } from 'node:net';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';

const where = process.env['SWITCHYARD_VM_OUTSIDE'];

describe.skipIf(where === undefined)(
  'the world outside (needs the guest of npm run test:vm)',
  () => {
    test('a listener on the loopback address outside answers the guest with its word', async () => {
      const [host = '', port = ''] = (where ?? '').split(':');
      const socket = connect({ host, port: Number(port) });
      socket.once('data', () => socket.end());
      const answer = text(socket);
      socket.write('?\n');
      expect(await answer).toMatch(new RegExp(`^${process.env['SWITCHYARD_VM_WORD']} 127.0.0.1`));
    });
  },
);
