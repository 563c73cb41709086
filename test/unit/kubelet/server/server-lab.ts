import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { request } from 'node:https';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { Registry } from 'prom-client';
import { systemClock } from '../../../../src/clock.ts';
import type { KubeletServerConfig } from '../../../../src/config/kubelet-config.ts';
import type { BindConfig } from '../../../../src/config/proxy-config.ts';
import { BlockDevices } from '../../../../src/host/block-devices.ts';
import type { ApiWriter } from '../../../../src/informer/api-client.ts';
import type { Address } from '../../../../src/ip/address.ts';
import type { Pod } from '../../../../src/kubelet/pod/pod.ts';
import { KubeletServer } from '../../../../src/kubelet/server/server.ts';
import type { KubeletServerOptions } from '../../../../src/kubelet/server/server.ts';
import { silentLog } from '../../../../src/telemetry/log.ts';
import { certificates } from '../../informer/certificates.ts';
import { container, pod, running, runningPod } from '../support/pods.ts';
import { runtimePod } from '../support/runtime-pods.ts';

interface Review {
  readonly kind: string;
  readonly spec: {
    readonly token?: string;
    readonly user?: string;
    readonly groups?: readonly string[];
    readonly resourceAttributes?: { readonly verb: string; readonly subresource: string };
  };
}

/** An API server that knows the token `good`, and lets its user read metrics and pods, and the certificate's user do anything. */
export class Reviews implements ApiWriter {
  readonly server = 'https://api.test';
  readonly asked: Review[] = [];
  isAway = false;

  async send(_verb: string, _path: string, value: unknown): ReturnType<ApiWriter['send']> {
    const review = value as Review;
    this.asked.push(review);
    if (this.isAway) throw new Error('the API server is away');
    const body = Readable.from([JSON.stringify({ ...review, status: statusOf(review) })]);
    return Promise.resolve({ status: 201, headers: {}, body });
  }

  async reloadCredentials(): Promise<void> {
    return Promise.resolve();
  }
}

function statusOf({ kind, spec }: Review): object {
  if (kind === 'TokenReview') {
    const user = { username: 'ann', groups: ['readers'] };
    return spec.token === 'good' ? { authenticated: true, user } : { authenticated: false };
  }
  const { user, resourceAttributes } = spec;
  const readable = ['metrics', 'pods'].includes(resourceAttributes?.subresource ?? '');
  return { allowed: user === 'first' || (user === 'ann' && readable) };
}

export const here = (port: number): BindConfig => ({ address: '127.0.0.1' as Address, port });

const usual: KubeletServerConfig = {
  bind: here(0),
  readOnly: undefined,
  healthz: undefined,
  certFile: '',
  keyFile: '',
  minVersion: 'TLSv1.2',
  cipherSuites: ['TLS_AES_128_GCM_SHA256', 'TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'],
  clientCaFile: '',
  anonymous: false,
  tokenReview: true,
  tokenTtlMs: 120_000,
  authorization: 'Webhook',
  allowedTtlMs: 300_000,
  deniedTtlMs: 30_000,
  debuggingHandlers: true,
  systemLogs: true,
  streamIdleMs: 60_000,
};

const refuse = async (): Promise<never> => Promise.reject(new Error('not asked for'));

/** A runtime that is asked for nothing but what is given. */
export function runtimeWith(calls: object): KubeletServerOptions['runtime'] {
  const none = {
    containerStatus: refuse,
    exec: refuse,
    attach: refuse,
    portForward: refuse,
    execSync: refuse,
  };
  return { ...none, ...calls };
}

export interface Served {
  readonly server: KubeletServer;
  readonly reviews: Reviews;
  readonly port: number;
}

export interface Streaming {
  readonly url: string;
  readonly heads: string[];
}

/** Servers with pod `web` of namespace `shop`, over real TLS and sockets; all is gone when it is closed. */
export class ServerLab {
  readonly folder: string;
  readonly #stops: (() => Promise<unknown>)[] = [];

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async open(): Promise<ServerLab> {
    const folder = await mkdtemp(join(tmpdir(), 'switchyard-server-'));
    await writeFile(join(folder, 'ca.crt'), certificates.first.cert);
    return new ServerLab(folder);
  }

  async close(): Promise<void> {
    for (const stop of this.#stops.splice(0).toReversed()) await stop();
    await rm(this.folder, { recursive: true });
  }

  async served(
    changes: Partial<KubeletServerConfig> = {},
    options: Partial<KubeletServerOptions> = {},
  ): Promise<Served> {
    const reviews = new Reviews();
    const web = webPod();
    const server = new KubeletServer({
      config: { ...usual, clientCaFile: join(this.folder, 'ca.crt'), ...changes },
      certFolder: join(this.folder, 'pki'),
      nodeName: 'n1',
      api: reviews,
      log: silentLog,
      clock: systemClock,
      onRequest: () => {},
      onRefused: () => {},
      runtime: runtimeWith({}),
      findPod: (namespace, name) => (namespace === 'shop' && name === 'web' ? web : undefined),
      listPods: () => [web],
      runtimePod: async (uid) => Promise.resolve(uid === 'uid-1' ? runtimePod() : undefined),
      runtimePods: () => [runtimePod()],
      ownAddresses: () => [],
      health: () => ({ isAlive: true, waitsFor: undefined }),
      machine: { cpus: 2, memoryBytes: 4096, bootId: 'b', machineId: 'm', systemUuid: 's' },
      stats: () => undefined,
      devices: new BlockDevices(join(this.folder, 'sys')),
      configz: { maxPods: 7 },
      systemLogsFolder: join(this.folder, 'log'),
      metrics: new Registry(),
      probeMetrics: new Registry(),
      ...options,
    });
    await server.start();
    this.#stops.push(async () => server.stop());
    return { server, reviews, port: server.port ?? 0 };
  }

  /** Answers an upgrade, says what it was sent once that has ended, and ends. */
  async streaming(answer = 'HTTP/1.1 101 Switching Protocols\r\n\r\n'): Promise<Streaming> {
    const heads: string[] = [];
    const runtime = createServer({ allowHalfOpen: true }, (socket) => {
      let received = '';
      socket.on('data', (chunk: Buffer) => {
        received += chunk.toString();
        const end = received.indexOf('\r\n\r\n');
        if (end < 0 || heads.length > 0) return;
        heads.push(received.slice(0, end));
        received = received.slice(end + 4);
        socket.write(answer);
      });
      socket.on('end', () => socket.end(`got ${received}, bye`));
      socket.on('error', () => {});
    });
    return { url: `http://127.0.0.1:${await this.listening(runtime)}/exec/token-1`, heads };
  }

  /** Where it listens; until the lab is closed. */
  async listening(server: Server): Promise<number> {
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    this.#stops.push(async () => new Promise((resolve) => server.close(resolve)));
    return (server.address() as AddressInfo).port;
  }

  async freePort(): Promise<number> {
    const server = createServer();
    const port = await this.listening(server);
    await this.#stops.pop()?.();
    return port;
  }
}

function webPod(): Pod {
  const app = container();
  return { ...pod({ containers: [app] }), status: runningPod(running()) };
}

export interface Answer {
  readonly status: number;
  readonly body: string;
  readonly type: string | undefined;
}

export const byCertificate = { cert: certificates.first.cert, key: certificates.first.key };
export const byToken = (token: string): { headers: Record<string, string> } => ({
  headers: { authorization: `Bearer ${token}` },
});

export async function ask(
  port: number,
  path: string,
  options: object = byCertificate,
): Promise<Answer> {
  const asked = request({
    host: '127.0.0.1',
    port,
    path,
    rejectUnauthorized: false,
    agent: false,
    ...options,
  });
  asked.end();
  const [response] = await once(asked, 'response');
  const { statusCode = 0, headers } = response as {
    statusCode?: number;
    headers: Record<string, string>;
  };
  return {
    status: statusCode,
    body: await text(response as Readable),
    type: headers['content-type'],
  };
}

export async function askPlainly(port: number, path: string): Promise<[number, string]> {
  const asked = httpRequest({ host: '127.0.0.1', port, path, agent: false }).end();
  const [response] = await once(asked, 'response');
  const { statusCode = 0 } = response as { statusCode?: number };
  return [statusCode, await text(response as Readable)];
}

export function executed(url: string, asked: object[] = []): Partial<KubeletServerOptions> {
  const exec = async (call: object): Promise<never> => {
    asked.push(call);
    return Promise.resolve({ url } as never);
  };
  return { runtime: runtimeWith({ exec }) };
}

export const upgrade =
  'Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n';

export async function upgraded(port: number, path: string, headers = upgrade): Promise<TLSSocket> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    rejectUnauthorized: false,
    ...byCertificate,
  });
  await once(socket, 'secureConnect');
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: n1\r\nAuthorization: Bearer secret\r\n${headers}\r\n`,
  );
  return socket;
}
