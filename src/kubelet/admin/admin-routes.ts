import type { ServerResponse } from 'node:http';
import type { PodLogs } from '../server/logs/pod-logs.ts';
import type { PodStreams } from '../server/streams/pod-streams.ts';
import type { Exchange, Routes } from '../server/routes.ts';
import { sayJson } from '../server/say.ts';
import type { KubeletStatus } from './kubelet-status.ts';
import type { PodsDocument } from './pods-document.ts';

export interface AdminRoutesOptions {
  readonly version: string;
  readonly status: () => KubeletStatus;
  readonly pods: () => PodsDocument;
  readonly logs: Pick<PodLogs, 'answer'>;
  readonly streams: Pick<PodStreams, 'answer'>;
}

/**
 * What the kubelet answers at its admin socket: how it is, its pods, a container's log and commands in it. The latter two are those of port
 * 10250 (`/v1/logs/NAMESPACE/POD/CONTAINER`, `/v1/exec/…`): whoever may connect may do all.
 */
export class AdminRoutes implements Routes {
  readonly #options: AdminRoutesOptions;

  constructor(options: AdminRoutesOptions) {
    this.#options = options;
  }

  upgrades(path: string): boolean {
    return path.startsWith('/v1/exec/');
  }

  async answer(exchange: Exchange): Promise<void> {
    const { version, status, pods, logs, streams } = this.#options;
    const { response, request, url } = exchange;
    response.setHeader('Switchyard-Version', version);
    const [, , verb = '', ...rest] = url.pathname.split('/');
    const question = request.method === 'GET' && url.pathname.startsWith('/v1/') ? verb : '';
    if (question === 'status' && rest.length === 0) sayJson(response, status());
    else if (question === 'pods' && rest.length === 0) sayJson(response, pods());
    else if (question === 'logs') await logs.answer(ofContainer(exchange));
    else if (question === 'exec') await streams.answer('exec', ofContainer(exchange));
    else sayUnknown(response, `${request.method} ${url.pathname}`);
  }
}

/** The same with a path as it is on port 10250; whoever follows may be silent for long. */
function ofContainer(exchange: Exchange): Exchange {
  exchange.request.socket.setTimeout(0);
  const url = new URL(exchange.url.href);
  url.pathname = url.pathname.slice('/v1'.length);
  return { ...exchange, url };
}

function sayUnknown(response: ServerResponse, asked: string): void {
  const message = `${asked}: expected GET of /v1/status, /v1/pods, /v1/logs/… or /v1/exec/…`;
  response.writeHead(404, { 'Content-Type': 'application/json' });
  response.end(`${JSON.stringify({ error: { code: 'missing', message } })}\n`);
}
