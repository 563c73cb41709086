// What a wire does that no client could tell: it lets go of its file descriptor, whatever was under way.
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HandleWires } from '../../src/relay/handle-wire.ts';
import { socketWires } from '../../src/relay/socket-wire.ts';
import { tcpHandles } from '../../src/relay/tcp-handles.ts';
import type { Wire, WireEvents, Wires } from '../../src/relay/wire.ts';
import { eventually, local, ownNetwork } from './stage.ts';

const descriptors = (): number => readdirSync('/proc/self/fd').length;

function handleWires(): Wires {
  const handles = tcpHandles();
  if (handles === undefined) throw new Error('this Node has no handles that are known');
  return new HandleWires(handles);
}

describe.skipIf(!ownNetwork).each([
  ['handles', handleWires],
  ['sockets', () => socketWires],
] as const)('a wire of %s', (_, make) => {
  let server: net.Server;
  let peers: { readonly socket: Socket; readonly heard: string[] }[];
  let events: WireEvents;
  let told: string[];

  beforeEach(async () => {
    peers = [];
    told = [];
    server = net.createServer({ allowHalfOpen: true }, (socket) => {
      const heard: string[] = [];
      socket.on('error', ({ code }: NodeJS.ErrnoException) => heard.push(code ?? ''));
      socket.on('end', () => heard.push('end'));
      socket.resume();
      peers.push({ socket, heard });
    });
    events = {
      data: () => true,
      ended: () => told.push('ended'),
      failed: (code) => told.push(code),
      broken: (code) => told.push(code),
      sent: () => told.push('sent'),
    };
    server.listen(0, local);
    await once(server, 'listening');
  });

  afterEach(() => {
    for (const { socket } of peers) socket.destroy();
    server.close();
  });

  async function connected(): Promise<Wire> {
    const { port } = server.address() as AddressInfo;
    const wire = await new Promise<Wire>((resolve, reject) => {
      const made: Wire = make().connect({ address: local, port }, (failure) => {
        if (failure === undefined) resolve(made);
        else reject(new Error(failure));
      });
    });
    wire.tell(events);
    wire.resume();
    await eventually(() => peers.length > 0);
    return wire;
  }

  const heard = (): readonly string[] => peers[0]?.heard ?? [];
  const peerGoes = async (): Promise<void> => {
    peers[0]?.socket.destroy();
    await eventually(() => peers[0]?.socket.closed === true);
  };

  it('resets a connection whose end is on its way, and keeps nothing of it', async () => {
    const before = descriptors();
    const wire = await connected();
    wire.end();
    wire.reset();
    await eventually(() => heard().length > 0);
    await peerGoes();
    await eventually(() => descriptors() === before);
    expect(told).toEqual([]);
  });

  it('resets a connection whose end was sent', async () => {
    const before = descriptors();
    const wire = await connected();
    wire.end();
    await eventually(() => heard().includes('end'));
    wire.reset();
    await peerGoes();
    await eventually(() => descriptors() === before);
  });

  it('closes a connection whose end is on its way', async () => {
    const before = descriptors();
    const wire = await connected();
    wire.write(Buffer.from('bye'));
    wire.end();
    wire.close();
    await eventually(() => heard().includes('end'));
    await peerGoes();
    await eventually(() => descriptors() === before);
    expect(heard()).toEqual(['end']);
  });
});
