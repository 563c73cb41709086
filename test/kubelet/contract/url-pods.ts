import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fabricAddress } from '../node-machine.ts';

/** A URL that the nodes reach, and what it says of pods. */
export class UrlPods {
  #body = '';
  #status = 200;
  readonly #server = createServer((_request, response) => {
    response.writeHead(this.#status).end(this.#body);
  });

  get url(): string {
    return `http://${fabricAddress}:${(this.#server.address() as AddressInfo).port}/pods`;
  }

  async start(): Promise<void> {
    this.#server.listen(0, fabricAddress);
    await once(this.#server, 'listening');
    this.gives({});
  }

  /** A list of pods by their names. */
  gives(specs: Readonly<Record<string, object>>): void {
    const items = Object.entries(specs).map(([name, spec]) => ({
      metadata: { name },
      spec: { terminationGracePeriodSeconds: 2, ...spec },
    }));
    this.says(200, JSON.stringify({ apiVersion: 'v1', kind: 'PodList', items }));
  }

  says(status: number, body: string): void {
    this.#status = status;
    this.#body = body;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}
