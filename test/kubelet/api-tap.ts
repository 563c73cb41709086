import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { CertificatePair } from './certificates.ts';

/** A call's moment: not passed on yet, or done and not yet answered. */
export type Moment = 'before' | 'after';

/** A call of a node to the API server. */
export interface TappedCall {
  /** `watch` for a GET that stays open. */
  readonly verb: string;
  readonly path: string;
  /** What was sent. */
  readonly body: string;
}

export interface ApiTapOptions {
  readonly address: string;
  readonly server: { readonly port: number; readonly ca: string };
  /** Whom the API server takes it for. */
  readonly node: CertificatePair;
}

/** Stands between one node and the API server, without TLS on the node's side, and can cut a call off at either moment. */
export class ApiTap {
  readonly #options: ApiTapOptions;
  readonly #agent: Agent;
  readonly #server = createServer((asked, answer) => {
    void this.#pass(asked, answer);
  });
  /** Asked at both moments of each call; true: it is cut off. */
  cut: ((moment: Moment, call: TappedCall) => Promise<boolean>) | undefined;

  constructor(options: ApiTapOptions) {
    this.#options = options;
    const { node, server } = options;
    this.#agent = new Agent({
      keepAlive: true,
      ca: server.ca,
      cert: readFileSync(node.certificate),
      key: readFileSync(node.key),
    });
  }

  /** Its URL. */
  async start(): Promise<string> {
    const { address } = this.#options;
    this.#server.listen(0, address);
    await once(this.#server, 'listening');
    return `http://${address}:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
    this.#agent.destroy();
  }

  async #pass(asked: IncomingMessage, answer: ServerResponse): Promise<void> {
    const url = new URL(asked.url ?? '/', 'http://tap');
    const isWatch = url.searchParams.get('watch') === 'true';
    try {
      const body = await bytesOf(asked);
      const verb = isWatch ? 'watch' : (asked.method ?? '');
      const call = { verb, path: url.pathname, body: body.toString() };
      if ((await this.cut?.('before', call)) === true) throw new Error('cut off');
      const [came, done] = await this.#ask(asked, body);
      const end = isWatch ? undefined : await bytesOf(came);
      if ((await this.cut?.('after', call)) === true) throw new Error('cut off');
      answer.writeHead(came.statusCode ?? 502, withoutHop(came));
      if (end !== undefined) answer.end(end);
      else {
        answer.flushHeaders();
        answer.once('close', done);
        came.once('error', () => answer.destroy());
        came.pipe(answer);
      }
    } catch {
      answer.destroy();
    }
  }

  async #ask(
    { method, url, headers }: IncomingMessage,
    body: Buffer,
  ): Promise<readonly [IncomingMessage, () => void]> {
    const { address, server } = this.#options;
    const { host: _, ...rest } = headers;
    const to = { host: address, port: server.port, method, path: url, headers: rest };
    const passed = request({ ...to, agent: this.#agent });
    const answered = once(passed, 'response') as Promise<[IncomingMessage]>;
    passed.end(body);
    const [came] = await answered;
    return [came, () => passed.destroy()];
  }
}

async function bytesOf(message: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of message as AsyncIterable<Buffer>) parts.push(part);
  return Buffer.concat(parts);
}

function withoutHop({ headers }: IncomingMessage): IncomingMessage['headers'] {
  const {
    connection: _connection,
    'transfer-encoding': _encoding,
    'content-length': _length,
    ...rest
  } = headers;
  return rest;
}
