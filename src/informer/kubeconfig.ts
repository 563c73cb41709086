import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { dirname, isAbsolute, join, resolve } from 'node:path';

import { parse } from 'yaml';

import type { Clock } from '../clock.ts';
import { errorText, SwitchyardError } from '../error.ts';
import { ApiAccess } from './api-credentials.ts';
import type { CredentialSources, Credentials } from './api-credentials.ts';
import { checkedProxy, environmentProxy } from './environment-proxy.ts';
import { ExecPlugin } from './exec-plugin.ts';
import type { RunProgram } from './exec-plugin.ts';
import { pemProblem } from './pem.ts';
import type { PemKind } from './pem.ts';

/** Where the API server and the credentials come from. */
export interface KubeconfigOptions {
  /** Path of a kubeconfig file. */
  readonly kubeconfig?: string;
  /** Overrides the server of the kubeconfig; alone, it is an anonymous connection. */
  readonly master?: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A file with the client certificate and key that count instead of the credentials there. */
  readonly clientFile?: string | undefined;
  /** Where a pod finds its token and CA. */
  readonly serviceAccountDirectory: string;
  readonly clock: Clock;
  /** Runs the credential plugins of a kubeconfig. */
  readonly runProgram: RunProgram;
}

export type Json = Record<string, unknown>;

/** The API server, and what it takes to trust it. */
interface Cluster {
  readonly server: string;
  /** PEM. */
  readonly ca?: string | undefined;
  readonly caFile?: string | undefined;
  readonly skipTlsVerify: boolean;
  readonly tlsServerName?: string | undefined;
  readonly proxyUrl?: string | undefined;
}

/** Who we are: what does not change while we run, and where the rest is read. */
interface User {
  readonly fixed: Credentials;
  readonly sources: Partial<CredentialSources>;
}

const anonymous: User = { fixed: { headers: {}, tls: {} }, sources: {} };

/** Loads the connection settings as client-go does, paths relative to the kubeconfig and all. */
export function loadKubeConfig(options: KubeconfigOptions): ApiAccess {
  const { cluster, user: given } = readSettings(options);
  const { clientFile } = options;
  const user = clientFile === undefined ? given : byFile(clientFile, given);
  const { fixed, sources } = user;
  const { server, caFile } = cluster;
  const proxyUrl = cluster.proxyUrl ?? environmentProxy(new URL(server), options.env);
  const credentials = { ...fixed, tls: { ...fixed.tls, ...trustOf(cluster) } };
  return new ApiAccess(
    { server, proxyUrl, credentials },
    { impersonation: {}, ...sources, caFile },
  );
}

/** Somebody known by a certificate alone. */
function byFile(path: string, { sources: { impersonation } }: User): User {
  const who = impersonation === undefined ? {} : { impersonation };
  return { ...anonymous, sources: { ...who, certFile: path, keyFile: path } };
}

function trustOf({ ca, skipTlsVerify, tlsServerName }: Cluster): Credentials['tls'] {
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(skipTlsVerify ? { rejectUnauthorized: false } : {}),
    ...(tlsServerName === undefined ? {} : { servername: tlsServerName }),
  };
}

function readSettings(options: KubeconfigOptions): {
  readonly cluster: Cluster;
  readonly user: User;
} {
  const { kubeconfig, master } = options;
  if (kubeconfig !== undefined && kubeconfig !== '') return fromFile(kubeconfig, options);
  if (master === undefined || master === '') return inCluster(options);
  return {
    cluster: { server: parseServer(master), skipTlsVerify: false },
    user: anonymous,
  };
}

function fromFile(
  path: string,
  options: KubeconfigOptions,
): { readonly cluster: Cluster; readonly user: User } {
  const { current, rawCluster, userName, entry } = currentEntries(path);
  const server = options.master || text(rawCluster['server']);
  if (server === '') {
    throw new SwitchyardError(
      'source',
      `kubeconfig ${path}: current-context ${JSON.stringify(current)} names no context whose cluster has a server`,
      { hint: 'Set current-context to one of its contexts, or give --master.' },
    );
  }
  const directory = dirname(resolve(path));
  const cluster = clusterOf(rawCluster, parseServer(server), path);
  // a mistyped name must not make the connection an anonymous one
  if (userName !== '' && entry['name'] === undefined) {
    throw new SwitchyardError(
      'source',
      `kubeconfig ${path}: context ${JSON.stringify(current)} names the user ${JSON.stringify(userName)}, which is not there`,
      { hint: 'Add that user, or leave it out of the context for an anonymous connection.' },
    );
  }
  const user = userOf(record(entry['user']), path);
  const exec = mendExec(record(entry['user'])['exec'], cluster, rawCluster, directory);
  const plugin = exec === undefined ? undefined : newPlugin(exec, options);
  return { cluster, user: { ...user, sources: { ...user.sources, plugin } } };
}

/** What the current context of a kubeconfig leads to; an entry that is not there is empty. */
export function currentEntries(path: string): {
  readonly current: string;
  readonly rawCluster: Json;
  readonly userName: string;
  readonly entry: Json;
} {
  const raw = readFile(path);
  const current = text(raw['current-context']);
  const context = record(named(raw['contexts'], current)['context']);
  const rawCluster = record(named(raw['clusters'], text(context['cluster']))['cluster']);
  const userName = text(context['user']);
  return { current, rawCluster, userName, entry: named(raw['users'], userName) };
}

function readFile(path: string): Json {
  const hint = 'Give --kubeconfig a file that kubectl accepts.';
  let content: string;
  try {
    content = readFileSync(path, 'utf8');
  } catch (cause) {
    const message = `kubeconfig ${path}: ${errorText(cause)}`;
    throw new SwitchyardError('source', message, { cause, hint });
  }
  try {
    return record(parse(content, { version: '1.1' }));
  } catch (error) {
    // What the parser says after the place is the line itself: that may be a token.
    const [problem = ''] = errorText(error).split('\n', 1);
    throw new SwitchyardError('source', `kubeconfig ${path}: ${problem.replace(/:$/, '')}`, {
      hint,
    });
  }
}

function inCluster(options: KubeconfigOptions): { readonly cluster: Cluster; readonly user: User } {
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
    cluster: { server, caFile: join(directory, 'ca.crt'), skipTlsVerify: false },
    user: { ...anonymous, sources: { tokenFile: join(directory, 'token') } },
  };
}

function clusterOf(raw: Json, server: string, path: string): Cluster {
  const proxyUrl = text(raw['proxy-url']);
  const ca = pemField(raw, 'certificate-authority-data', 'certificate authority', path);
  const caFile = pathOf(raw['certificate-authority'], dirname(resolve(path)));
  return {
    server,
    ca,
    caFile: ca === undefined ? caFile : undefined,
    skipTlsVerify: raw['insecure-skip-tls-verify'] === true,
    tlsServerName: text(raw['tls-server-name']) || undefined,
    proxyUrl: proxyUrl === '' ? undefined : checkedProxy(`kubeconfig ${path}: proxy-url`, proxyUrl),
  };
}

/** `host:port` is taken as http, as client-go does. */
function parseServer(given: string): string {
  const url = URL.parse(/^[a-z]+:\/\//i.test(given) ? given : `http://${given}`);
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new SwitchyardError('usage', `API server ${given}: expected an http or https URL`);
  }
  return url.href.replace(/\/$/, '');
}

/** As in client-go: certificates and keys that stand in the kubeconfig come before files, a token file before a token. */
function userOf(raw: Json, path: string): User {
  const directory = dirname(resolve(path));
  const provider = record(raw['auth-provider']);
  const legacy = text(record(provider['config'])['tokenFile']);
  const tokenFile = text(raw['tokenFile']) || text(raw['token-file']) || legacy;
  const token = text(raw['token']).trim();
  if (provider['name'] !== undefined && tokenFile === '' && token === '') {
    throw new SwitchyardError(
      'source',
      `kubeconfig ${path}: auth-provider ${JSON.stringify(provider['name'])} is not supported`,
      { hint: 'Give the user a credential plugin (exec), a tokenFile or a client certificate.' },
    );
  }
  const cert = pemField(raw, 'client-certificate-data', 'client certificate', path);
  const key = pemField(raw, 'client-key-data', 'client key', path);
  return {
    fixed: {
      headers: authorizationOf(raw, tokenFile === '' ? token : ''),
      tls: { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) },
    },
    sources: {
      certFile: cert === undefined ? pathOf(raw['client-certificate'], directory) : undefined,
      keyFile: key === undefined ? pathOf(raw['client-key'], directory) : undefined,
      tokenFile: pathOf(tokenFile, directory),
      impersonation: impersonationOf(raw, path),
    },
  };
}

function authorizationOf(raw: Json, token: string): Credentials['headers'] {
  const name = text(raw['username']);
  if (name !== '') {
    const pair = Buffer.from(`${name}:${text(raw['password'])}`);
    return { authorization: `Basic ${pair.toString('base64')}` };
  }
  return token === '' ? {} : { authorization: `Bearer ${token}` };
}

function pemField(raw: Json, field: string, kind: PemKind, path: string): string | undefined {
  if (text(raw[field]) === '') return undefined;
  const pem = Buffer.from(text(raw[field]), 'base64').toString('utf8');
  const problem = pemProblem(kind, pem);
  if (problem === undefined) return pem;
  throw new SwitchyardError('source', `kubeconfig ${path}: ${field} ${problem}`, {
    hint: 'The field takes a PEM file in base64: base64 -w0 FILE.',
  });
}

function pathOf(value: unknown, directory: string): string | undefined {
  return text(value) === '' ? undefined : resolve(directory, text(value));
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
      'insecure-skip-tls-verify': cluster.skipTlsVerify || undefined,
      'certificate-authority-data': certificateAuthority(cluster),
      'proxy-url': cluster.proxyUrl,
      config: extension['extension'],
    },
  };
}

function certificateAuthority({ ca, caFile }: Cluster): string | undefined {
  if (caFile === undefined)
    return ca === undefined ? undefined : Buffer.from(ca).toString('base64');
  try {
    return readFileSync(caFile).toString('base64');
  } catch (error) {
    const message = `certificate-authority ${caFile}: ${errorText(error)}`;
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

/** A value where it is an object; else an empty one. */
export function record(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

/** A value where it is a text; else an empty one. */
export function text(value: unknown): string {
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
