// What the metrics server answers, path by path.
import { request } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { metricsHandler } from '../../../src/proxy/metrics-handler.ts';
import type { MetricsHandlerOptions } from '../../../src/proxy/metrics-handler.ts';
import { listen } from '../../../src/telemetry/http-server.ts';
import { ProxyMetrics } from '../../../src/telemetry/metrics.ts';

const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function serve(options: Partial<MetricsHandlerOptions> = {}): Promise<string> {
  const handler = metricsHandler({
    metrics: new ProxyMetrics({ version: 'test' }),
    mode: 'ipvs',
    ...options,
  });
  const server = await listen({ address: '127.0.0.1', port: 0 }, handler);
  closing.push(async () => server.close());
  return `http://127.0.0.1:${server.port}`;
}

/** The bytes as they are: fetch would unzip them. */
async function rawBody(
  url: string,
): Promise<{ readonly encoding: unknown; readonly body: Buffer }> {
  return new Promise((resolve, reject) => {
    request(url, { headers: { 'accept-encoding': 'gzip' } }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => void chunks.push(chunk));
      answer.on('end', () => {
        resolve({ encoding: answer.headers['content-encoding'], body: Buffer.concat(chunks) });
      });
    })
      .on('error', reject)
      .end();
  });
}

describe('the metrics server', () => {
  it('survives to be asked for what is no URL', async () => {
    expect((await fetch(`${await serve()}//`)).status).toBe(404);
  });

  it('says ok at /healthz, whatever the health of the proxy', async () => {
    const answer = await fetch(`${await serve()}/healthz`);
    expect([answer.status, await answer.text()]).toEqual([200, 'ok']);
  });

  it('names the mode at /proxyMode', async () => {
    const answer = await fetch(`${await serve()}/proxyMode`);
    expect(await answer.text()).toBe('ipvs');
    expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
  });

  it.each([
    ['/metrics', 'kubernetes_build_info{'],
    ['/metrics/slis', '# TYPE kubernetes_healthcheck gauge'],
  ])('gives Prometheus text at %s', async (path, start) => {
    const answer = await fetch((await serve()) + path);
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(await answer.text()).toContain(`\n${start}`);
  });

  it('zips metrics for those who take it', async () => {
    const { encoding, body } = await rawBody(`${await serve()}/metrics`);
    expect(encoding).toBe('gzip');
    expect(gunzipSync(body).toString()).toContain('\nkubernetes_build_info{');
  });

  it('shows the configuration of the moment at /configz, below the name of its group', async () => {
    let mode = 'iptables';
    const url = `${await serve({ config: () => ({ mode }) })}/configz`;
    mode = 'ipvs';
    const answer = await fetch(url);
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(await answer.json()).toEqual({ 'kubeproxy.config.k8s.io': { mode: 'ipvs' } });
  });

  it('has pages for people', async () => {
    const url = await serve({ pages: new Map([['/statusz', () => 'up']]) });
    expect(await (await fetch(`${url}/statusz`)).text()).toBe('up');
    expect((await fetch(`${url}/flagz`)).status).toBe(404);
  });

  it.each(['/', '//', '/livez', '/configz', '/debug/pprof/', '/debug/flags/v', '/metrics/more'])(
    'has nothing at %s where it is not asked for',
    async (path) => {
      expect((await fetch((await serve()) + path)).status).toBe(404);
    },
  );
});
