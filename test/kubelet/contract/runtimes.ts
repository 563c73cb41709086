import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http2';
import type { Http2Server } from 'node:http2';
import { join } from 'node:path';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { systemClock } from '../../../src/clock.ts';
import { FakeRuntime } from '../../support/fake-cri/fake-runtime.ts';
import { cniConfig } from '../containerd-config.ts';
import type { NodeMachine } from '../node-machine.ts';
import { MemoryRegistry } from './registry.ts';
import type { ServedRegistry } from './registry.ts';
import type { WorldRuntime } from './world.ts';

/** Real containerd on a node that is started already; it pulls from this registry. */
export function containerdRuntime(node: NodeMachine, registry?: ServedRegistry): WorldRuntime {
  registry?.introduce(node);
  return {
    kind: 'containerd',
    node,
    registry,
    connect: () => node.connect(),
    setNetwork: (works) => {
      const file = join(node.folder, 'cni/10-pods.conflist');
      if (works) writeFileSync(file, cniConfig(node));
      else rmSync(file, { force: true });
    },
    reboot: async () => {
      await node.crash();
      await node.start();
    },
    stop: async () => node.crash(),
  };
}

/** The runtime in memory, at the socket of a node that is no machine: its kubelet runs where the test does, since the pods' addresses are there. */
export class MemoryRuntime implements WorldRuntime {
  readonly kind = 'memory';
  readonly node: NodeMachine;
  readonly fake: FakeRuntime;
  readonly registry: MemoryRegistry;
  #server: Http2Server | undefined;

  constructor(node: NodeMachine) {
    this.node = node;
    const folder = join(node.folder, 'memory');
    mkdirSync(folder, { recursive: true });
    this.fake = new FakeRuntime({ clock: systemClock, folder });
    this.registry = new MemoryRegistry(this.fake.images);
    for (const tag of ['1', '2']) {
      this.fake.images.add({ name: `docker.io/local/busybox:${tag}`, command: ['sh'] });
    }
  }

  async start(): Promise<void> {
    rmSync(this.node.socket, { force: true });
    const server = createServer(
      connectNodeAdapter({
        routes: (router) => {
          this.fake.routes(router);
        },
      }),
    );
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.node.socket, resolve));
  }

  connect() {
    return this.node.connect();
  }

  setNetwork(works: boolean): void {
    this.fake.networkBroken = works ? undefined : 'cni plugin not initialized';
  }

  async reboot(): Promise<void> {
    this.fake.reboot();
    await Promise.resolve();
  }

  async stop(): Promise<void> {
    this.fake.reboot();
    this.#server?.close();
    this.node.remove();
    await Promise.resolve();
  }
}
