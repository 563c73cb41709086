import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Mode } from '../backends/backend.ts';
import { errorText } from '../error.ts';
import { requestUrl } from '../telemetry/http-server.ts';
import type { HttpHandler } from '../telemetry/http-server.ts';
import type { ProxyMetrics } from '../telemetry/metrics.ts';
import type { DebugHandler } from '../telemetry/profiling.ts';

export interface MetricsHandlerOptions {
  readonly metrics: ProxyMetrics;
  readonly mode: Mode;
  /** What /configz shows: the effective KubeProxyConfiguration. Left out: there is none. */
  readonly config?: (() => object) | undefined;
  /** Pages for people, by path: `/statusz`. */
  readonly pages?: ReadonlyMap<string, () => string> | undefined;
  /** Only with --profiling. */
  readonly debug?: DebugHandler | undefined;
}

const text = 'text/plain; charset=utf-8';
const noSniff = { 'X-Content-Type-Options': 'nosniff' };
const plain = { 'Content-Type': text, ...noSniff };
const zip = promisify(gzip);

/** Answers /metrics, /metrics/slis, /proxyMode, /configz, pages, a plain /healthz (not the health server's) and /debug; else 404. */
export function metricsHandler({
  metrics,
  mode,
  config,
  pages,
  debug,
}: MetricsHandlerOptions): HttpHandler {
  return (request, response) => {
    const { pathname } = requestUrl(request);
    const page = pages?.get(pathname);
    if (page !== undefined) {
      response.writeHead(200, { 'Content-Type': text }).end(page());
      return;
    }
    switch (pathname) {
      case '/healthz':
        response.writeHead(200, plain).end('ok');
        return;
      case '/proxyMode':
        response.writeHead(200, plain).end(mode);
        return;
      case '/metrics':
        void sendMetrics(metrics.registry, request, response);
        return;
      case '/metrics/slis':
        void sendMetrics(metrics.slis.registry, request, response);
        return;
      case '/configz':
        if (config !== undefined) {
          sendConfig(config(), response);
          return;
        }
        break;
      default:
        if (debug !== undefined && pathname.startsWith('/debug/')) {
          void debug(request, response);
          return;
        }
    }
    response.writeHead(404, { 'Content-Type': text }).end('not found\n');
  };
}

/** As kube-proxy: the group's name, then the configuration. */
function sendConfig(config: object, response: ServerResponse): void {
  response
    .writeHead(200, { 'Content-Type': 'application/json', ...noSniff })
    .end(JSON.stringify({ 'kubeproxy.config.k8s.io': config }));
}

/** Never rejects. */
async function sendMetrics(
  registry: ProxyMetrics['registry'],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const body = await registry.metrics();
    const headers = { 'Content-Type': registry.contentType, Vary: 'Accept-Encoding' };
    if (!/\bgzip\b/.test(String(request.headers['accept-encoding']))) {
      response.writeHead(200, headers).end(body);
      return;
    }
    const zipped = await zip(body);
    response.writeHead(200, { ...headers, 'Content-Encoding': 'gzip' }).end(zipped);
  } catch (error) {
    response.writeHead(500, { 'Content-Type': text }).end(errorText(error));
  }
}
