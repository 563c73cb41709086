import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { dirname, isAbsolute, join, resolve } from 'node:path';

import type { Cluster, KubeConfig, User } from '@kubernetes/client-node';
import { parse } from 'yaml';

import type { Clock } from '../clock.ts';
import { errorText, SwitchyardError } from '../error.ts';
import { ApiAccess } from './api-credentials.ts';
import { environmentProxy } from './environment-proxy.ts';
import { ExecPlugin } from './exec-plugin.ts';
import type { RunProgram } from './exec-plugin.ts';

/** Where the API server and the credentials come from. */
export interface KubeconfigOptions {
  /** Path of a kubeconfig file. */
  readonly kubeconfig?: string;
  /** Overrides the server of the kubeconfig; alone, it is an anonymous connection. */
  readonly master?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where a pod finds its token and CA. */
  readonly serviceAccountDirectory: string;
  readonly clock: Clock;
  /** Runs the credential plugins of a kubeconfig. */
  readonly runProgram: RunProgram;
}

type Json = Record<string, unknown>;

/** A cluster and a user, and what is not left to the client library. */
interface Settings {
  readonly cluster: Cluster;
  readonly user: User;
  readonly tokenFile?: string | undefined;
  readonly exec?: Json | undefined;
  readonly impersonation?: Readonly<Record<string, string | string[]>>;
}

/**
 * Loads the connection settings with the client library's loader, and mends what it lacks: it does not
 * know `tokenFile` (kubeadm's own kube-proxy kubeconfig then is anonymous), does not trim tokens, sets
 * no KUBERNETES_EXEC_INFO, waits for a plugin for ever, refuses plain http, forgets the CA where a
 * context has no user and the groups of an impersonation, and knows no proxy of the environment.
 */
export async function loadKubeConfig(options: KubeconfigOptions): Promise<ApiAccess> {
  // 300 ms and 80 MB (in a checkout) that commands without an API server must not pay
  const { KubeConfig: Loader } = await import('./kubeconfig-loader.ts');
  const config = new Loader();
  const { cluster, user, tokenFile, exec, impersonation = {} } = readSettings(config, options);
  // files are read by ApiAccess, which names them and keeps what they said last
  const { caFile, ...restOfCluster } = cluster;
  const { certFile, keyFile, exec: _exec, impersonateUser: _as, ...restOfUser } = user;
  config.loadFromClusterAndUser(restOfCluster, restOfUser);
  const proxyUrl = cluster.proxyUrl ?? environmentProxy(new URL(cluster.server), options.env);
  const plugin = exec === undefined ? undefined : newPlugin(exec, options);
  const files = { caFile, certFile, keyFile, tokenFile };
  return new ApiAccess(config, proxyUrl, { ...files, plugin, impersonation });
}

function readSettings(config: KubeConfig, options: KubeconfigOptions): Settings {
  const { kubeconfig, master } = options;
  if (kubeconfig !== undefined && kubeconfig !== '') return fromFile(config, kubeconfig, master);
  if (master !== undefined && master !== '') return fromMaster(master);
  return inCluster(options);
}

function fromFile(config: KubeConfig, path: string, master: string | undefined): Settings {
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
  if (cluster === null && !master) {
    throw new SwitchyardError(
      'source',
      `kubeconfig ${path}: current-context ${JSON.stringify(config.currentContext ?? '')} names no context with a known cluster`,
      { hint: 'Set current-context to one of its contexts, or give --master.' },
    );
  }
  const userName = text(context['user']);
  const user = knownUser(config, userName, path);
  const rawCluster = record(named(raw['clusters'], text(context['cluster']))['cluster']);
  const rawUser = record(named(raw['users'], userName)['user']);
  const server = master || (cluster?.server ?? '');
  const mended = mendCluster({ ...cluster, name: cluster?.name ?? 'master' }, server);
  const directory = dirname(resolve(path));
  return {
    cluster: mended,
    ...userSettings(user, rawUser, directory),
    exec: mendExec(rawUser['exec'], mended, rawCluster, directory),
    impersonation: impersonationOf(rawUser, path),
  };
}

/** A mistyped name must not make the connection an anonymous one. */
function knownUser(config: KubeConfig, name: string, path: string): User | null {
  const user = config.getCurrentUser();
  if (user !== null || name === '') return user;
  throw new SwitchyardError(
    'source',
    `kubeconfig ${path}: context ${JSON.stringify(config.currentContext)} names the user ${JSON.stringify(name)}, which is not there`,
    { hint: 'Add that user, or leave it out of the context for an anonymous connection.' },
  );
}

function fromMaster(master: string): Settings {
  return { cluster: mendCluster({ name: 'master' }, master), user: { name: 'anonymous' } };
}

function inCluster(options: KubeconfigOptions): Settings {
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
  return {
    cluster: {
      name: 'in-cluster',
      server,
      caFile: join(directory, 'ca.crt'),
      skipTLSVerify: false,
    },
    user: { name: 'in-cluster' },
    tokenFile: join(directory, 'token'),
  };
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

function userSettings(
  given: User | null,
  raw: Json,
  directory: string,
): { readonly user: User; readonly tokenFile: string | undefined } {
  const user: User = given ?? { name: 'anonymous' };
  const legacy = text(record(record(raw['auth-provider'])['config'])['tokenFile']);
  const tokenFile = text(raw['tokenFile']) || text(raw['token-file']) || legacy;
  const { token, authProvider, ...rest } = user;
  // as in client-go, the file takes precedence over a token beside it
  if (tokenFile !== '') return { user: rest, tokenFile: resolve(directory, tokenFile) };
  const trimmed = token?.trim();
  const own = trimmed === undefined ? {} : { token: trimmed };
  return { user: { ...rest, authProvider, ...own }, tokenFile: undefined };
}

function impersonationOf(raw: Json, path: string): Record<string, string | string[]> {
  const user = text(raw['as']);
  const uid = text(raw['as-uid']);
  const groups = texts(raw['as-groups']);
  const extra = Object.entries(record(raw['as-user-extra']));
  if (user === '' && (uid !== '' || groups.length > 0 || extra.length > 0)) {
    throw new SwitchyardError(
      'source',
      `kubeconfig ${path}: as-groups, as-uid and as-user-extra need the user to impersonate in "as"`,
    );
  }
  return {
    ...(user === '' ? {} : { 'impersonate-user': user }),
    ...(uid === '' ? {} : { 'impersonate-uid': uid }),
    ...(groups.length === 0 ? {} : { 'impersonate-group': groups }),
    ...Object.fromEntries(
      extra.map(([key, values]) => [
        `impersonate-extra-${encodeURIComponent(key.toLowerCase())}`,
        texts(values),
      ]),
    ),
  };
}

/** Client-go finds a relative command beside the kubeconfig, and tells the plugin what it is for. */
function mendExec(
  given: unknown,
  cluster: Cluster,
  rawCluster: Json,
  directory: string,
): Json | undefined {
  if (given === undefined || given === null) return undefined;
  const exec = record(given);
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

function newPlugin(exec: Json, { clock, env, runProgram }: KubeconfigOptions): ExecPlugin {
  const own = (Array.isArray(exec['env']) ? (exec['env'] as unknown[]) : []).map(record);
  return new ExecPlugin({
    command: text(exec['command']),
    args: texts(exec['args']),
    env: {
      ...env,
      ...Object.fromEntries(own.map(({ name, value }) => [text(name), text(value)])),
    },
    installHint: text(exec['installHint']),
    clock,
    run: runProgram,
  });
}

function record(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function texts(value: unknown): string[] {
  const items: unknown[] = Array.isArray(value) ? value : [];
  return items.filter((item) => typeof item === 'string');
}

function named(list: unknown, name: string): Json {
  const items: unknown[] = Array.isArray(list) ? list : [];
  return record(items.find((item) => record(item)['name'] === name));
}
