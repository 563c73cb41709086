import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { dirname, isAbsolute, join, resolve } from 'node:path';

import type { Cluster, KubeConfig, User } from '@kubernetes/client-node';
import { parse } from 'yaml';

import { errorText, SwitchyardError } from '../error.ts';

/** Where the API server and the credentials come from. */
export interface KubeconfigOptions {
  /** Path of a kubeconfig file. */
  readonly kubeconfig?: string;
  /** Overrides the server of the kubeconfig; alone, it is an anonymous connection. */
  readonly master?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where a pod finds its token and CA. */
  readonly serviceAccountDirectory: string;
}

/** The name under which our token file reader is registered with the client library. */
const TOKEN_FILE_PROVIDER = 'switchyard-token-file';

type Json = Record<string, unknown>;

/**
 * Loads the connection settings with the client library's loader, and mends what it lacks: it does not
 * know `tokenFile` (kubeadm's own kube-proxy kubeconfig then is anonymous), does not trim tokens, sets
 * no KUBERNETES_EXEC_INFO, refuses plain http and forgets the CA where a context has no user.
 */
export async function loadKubeConfig(options: KubeconfigOptions): Promise<KubeConfig> {
  // 300 ms and 80 MB (in a checkout) that commands without an API server must not pay
  const { KubeConfig: Loader } = await import('./kubeconfig-loader.ts');
  const config = new Loader();
  const { kubeconfig, master } = options;
  if (kubeconfig !== undefined && kubeconfig !== '') loadFile(config, kubeconfig, master);
  else if (master !== undefined && master !== '') loadMaster(config, master);
  else loadInCluster(config, options);
  const tokens = new TokenFiles();
  config.addAuthenticator({
    isAuthProvider: (user) => tokenFileOf(user) !== undefined,
    applyAuthentication: async (user, request) => {
      const path = tokenFileOf(user);
      if (path === undefined) return;
      const headers = (request.headers ??= {}) as Record<string, string>;
      headers['Authorization'] = `Bearer ${tokens.read(path)}`;
      await Promise.resolve();
    },
  });
  return config;
}

function loadFile(config: KubeConfig, path: string, master: string | undefined): void {
  let raw: Json;
  try {
    raw = record(parse(readFileSync(path, 'utf8'), { version: '1.1' }));
    config.loadFromFile(path);
  } catch (error) {
    throw new SwitchyardError('source', `kubeconfig ${path}: ${errorText(error)}`, {
      cause: error,
      hint: 'Give --kubeconfig a file that kubectl accepts.',
    });
  }
  const context = record(named(raw['contexts'], config.currentContext)['context']);
  const cluster = config.getCurrentCluster();
  if (cluster === null && (master === undefined || master === '')) {
    throw new SwitchyardError(
      'source',
      `kubeconfig ${path}: current-context ${JSON.stringify(config.currentContext ?? '')} names no context with a known cluster`,
      { hint: 'Set current-context to one of its contexts, or give --master.' },
    );
  }
  const rawCluster = record(named(raw['clusters'], text(context['cluster']))['cluster']);
  const rawUser = record(named(raw['users'], text(context['user']))['user']);
  const server = master === undefined || master === '' ? (cluster?.server ?? '') : master;
  const mended = mendCluster({ ...cluster, name: cluster?.name ?? 'master' }, server);
  const directory = dirname(resolve(path));
  const user = mendUser(config.getCurrentUser(), rawUser, mended, rawCluster, directory);
  config.loadFromClusterAndUser(mended, user);
}

function loadMaster(config: KubeConfig, master: string): void {
  config.loadFromClusterAndUser(mendCluster({ name: 'master' }, master), { name: 'anonymous' });
}

function loadInCluster(config: KubeConfig, options: KubeconfigOptions): void {
  const host = options.env['KUBERNETES_SERVICE_HOST'];
  const port = options.env['KUBERNETES_SERVICE_PORT'];
  if (!host || !port) {
    throw new SwitchyardError(
      'usage',
      'no API server is known: neither --kubeconfig nor --master was given, and this is no pod (KUBERNETES_SERVICE_HOST is not set)',
      { hint: 'Give --kubeconfig=FILE or --master=URL.' },
    );
  }
  const directory = options.serviceAccountDirectory;
  const server = `https://${isIPv6(host) ? `[${host}]` : host}:${port}`;
  config.loadFromClusterAndUser(
    { name: 'in-cluster', server, caFile: join(directory, 'ca.crt'), skipTLSVerify: false },
    { name: 'in-cluster', authProvider: tokenFileProvider(join(directory, 'token')) },
  );
}

function mendCluster(
  cluster: Partial<Cluster> & { readonly name: string },
  given: string,
): Cluster {
  const server = parseServer(given);
  // the loader refuses plain http unless told that there is no TLS to verify
  const skipTLSVerify = server.startsWith('http:') || cluster.skipTLSVerify === true;
  return { ...cluster, server, skipTLSVerify };
}

/** `host:port` is taken as http, as client-go does. */
function parseServer(given: string): string {
  const url = URL.parse(/^[a-z]+:\/\//i.test(given) ? given : `http://${given}`);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new SwitchyardError('usage', `API server ${given}: expected an http or https URL`);
  }
  return url.href.replace(/\/$/, '');
}

function mendUser(
  user: User | null,
  raw: Json,
  cluster: Cluster,
  rawCluster: Json,
  directory: string,
): User {
  const base: User = user ?? { name: 'anonymous' };
  const exec =
    raw['exec'] === undefined
      ? base.exec
      : mendExec(record(raw['exec']), cluster, rawCluster, directory);
  const legacy = text(record(record(raw['auth-provider'])['config'])['tokenFile']);
  const tokenFile = text(raw['tokenFile']) || text(raw['token-file']) || legacy;
  const { token, ...rest } = base;
  if (tokenFile !== '') {
    // as in client-go, the file takes precedence over a token beside it
    return { ...rest, exec, authProvider: tokenFileProvider(resolve(directory, tokenFile)) };
  }
  const trimmed = token?.trim();
  return { ...rest, exec, ...(trimmed === undefined ? {} : { token: trimmed }) };
}

/** Client-go finds a relative command beside the kubeconfig, and tells the plugin what it is for. */
function mendExec(exec: Json, cluster: Cluster, rawCluster: Json, directory: string): Json {
  const command = text(exec['command']);
  const relative = command.includes('/') && !isAbsolute(command);
  const clusterInfo = exec['provideClusterInfo'] === true ? execCluster(cluster, rawCluster) : {};
  const info = {
    kind: 'ExecCredential',
    apiVersion: exec['apiVersion'] ?? 'client.authentication.k8s.io/v1',
    spec: { interactive: false, ...clusterInfo },
  };
  const env = Array.isArray(exec['env']) ? (exec['env'] as unknown[]) : [];
  return {
    ...exec,
    command: relative ? resolve(directory, command) : command,
    args: exec['args'] ?? [],
    env: [...env, { name: 'KUBERNETES_EXEC_INFO', value: JSON.stringify(info) }],
  };
}

function execCluster(cluster: Cluster, rawCluster: Json): Json {
  const extension = named(rawCluster['extensions'], 'client.authentication.k8s.io/exec');
  return {
    cluster: {
      server: cluster.server,
      'tls-server-name': cluster.tlsServerName,
      'insecure-skip-tls-verify': cluster.skipTLSVerify || undefined,
      'certificate-authority-data': certificateAuthority(cluster),
      'proxy-url': cluster.proxyUrl,
      config: extension['extension'],
    },
  };
}

function certificateAuthority(cluster: Cluster): string | undefined {
  if (cluster.caFile === undefined) return cluster.caData;
  try {
    return readFileSync(cluster.caFile).toString('base64');
  } catch (error) {
    const message = `certificate-authority ${cluster.caFile}: ${errorText(error)}`;
    throw new SwitchyardError('source', message, { cause: error });
  }
}

function tokenFileProvider(path: string): Json {
  return { name: TOKEN_FILE_PROVIDER, config: { path } };
}

function tokenFileOf(user: User): string | undefined {
  const provider = record(user.authProvider);
  if (provider['name'] !== TOKEN_FILE_PROVIDER) return undefined;
  return text(record(provider['config'])['path']);
}

/** Reads tokens for each request, so that a rotated one counts at once; a lost file keeps the last one. */
class TokenFiles {
  readonly #last = new Map<string, string>();

  read(path: string): string {
    let token = '';
    let cause: unknown;
    try {
      token = readFileSync(path, 'utf8').trim();
    } catch (error) {
      cause = error;
    }
    if (token !== '') this.#last.set(path, token);
    const last = this.#last.get(path);
    if (last !== undefined) return last;
    const reason = cause === undefined ? 'is empty' : errorText(cause);
    throw new SwitchyardError('source', `token file ${path}: ${reason}`, {
      cause,
      retryable: true,
    });
  }
}

function record(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function named(list: unknown, name: string): Json {
  const items: unknown[] = Array.isArray(list) ? list : [];
  return record(items.find((item) => record(item)['name'] === name));
}
