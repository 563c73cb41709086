import type { Mode } from '../backends/backend.ts';
import { errorText } from '../error.ts';
import type { HttpHandler } from '../telemetry/http-server.ts';
import type { ProxyMetrics } from '../telemetry/metrics.ts';

const text = 'text/plain; charset=utf-8';

/** Answers /metrics, /proxyMode and a plain /healthz (not the health server's); else 404. */
export function metricsHandler(metrics: ProxyMetrics, mode: Mode): HttpHandler {
  return (request, response) => {
    switch (new URL(request.url ?? '/', 'http://proxy').pathname) {
      case '/healthz':
        response.writeHead(200, { 'Content-Type': text }).end('ok');
        return;
      case '/proxyMode':
        response
          .writeHead(200, { 'Content-Type': text, 'X-Content-Type-Options': 'nosniff' })
          .end(mode);
        return;
      case '/metrics':
        metrics.registry.metrics().then(
          (body) =>
            response.writeHead(200, { 'Content-Type': metrics.registry.contentType }).end(body),
          (error: unknown) =>
            response.writeHead(500, { 'Content-Type': text }).end(errorText(error)),
        );
        return;
      default:
        response.writeHead(404, { 'Content-Type': text }).end('not found\n');
    }
  };
}
