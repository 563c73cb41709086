// A relay as a process of its own, for tests and figures that ask what it costs: RelayProcess speaks with it.
import process from 'node:process';
import { keepHeapSmall } from '../../src/cli/heap.ts';
import { SocketRelay } from '../../src/relay/socket-relay.ts';
import type { RelayRequest, RelayReply } from './relay-process.ts';

// As in the agent: V8's settings are those of the whole process.
keepHeapSmall();
const { workers, wires, files } = JSON.parse(process.argv[2] ?? '{}') as {
  readonly workers?: number;
  readonly wires?: 'handles' | 'sockets';
  readonly files?: number;
};

const say = (reply: RelayReply): void => {
  process.send?.(reply);
};
const line = (level: string) => (fields: object, message: string) => {
  say({ log: { level, message, fields: { ...fields } } });
};
const log = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
const relay = new SocketRelay({
  log,
  random: Math.random,
  ...(workers === undefined ? {} : { workers }),
  ...(wires === undefined ? {} : { wires }),
  files,
});

async function answer(request: RelayRequest): Promise<unknown> {
  switch (request.do) {
    case 'change':
      return relay.change(request.change);
    case 'admit':
      return relay.admit(request.keys);
    case 'stats':
      return relay.stats();
    case 'close':
      return relay.close();
    default:
      return undefined;
  }
}

process.on('message', (request: RelayRequest) => {
  void (async () => {
    say({ id: request.id, value: await answer(request) });
    if (request.do === 'close') process.disconnect();
  })();
});
