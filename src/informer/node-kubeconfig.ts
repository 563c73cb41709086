import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { stringify } from 'yaml';
import { errorText } from '../error.ts';
import { currentEntries, record, text } from './kubeconfig.ts';
import type { Json } from './kubeconfig.ts';

/** PEM texts of the client certificate that a kubeconfig carries or names. */
export interface KubeconfigPair {
  readonly cert: string;
  readonly key: string;
}

/** Throws where the file, or one that it names, cannot be read; undefined where its user has no client certificate. */
export function kubeconfigPair(path: string): KubeconfigPair | undefined {
  const user = record(currentEntries(path).entry['user']);
  const [cert, key] = (['client-certificate', 'client-key'] as const).map((field) =>
    pemOf(user, field, path),
  );
  return cert === undefined || key === undefined ? undefined : { cert, key };
}

/** Why nobody can be known to the API server by this kubeconfig; undefined where one can. A token is asked nothing. */
export function kubeconfigProblem(path: string, nowMs: number): string | undefined {
  try {
    const user = record(currentEntries(path).entry['user']);
    const pair = kubeconfigPair(path);
    if (pair === undefined)
      return hasOtherCredentials(user) ? undefined : 'has no client certificate with its key';
    const { validTo } = new X509Certificate(pair.cert);
    return Date.parse(validTo) > nowMs
      ? undefined
      : `its client certificate was good until ${validTo}`;
  } catch (error) {
    return errorText(error);
  }
}

/**
 * A kubeconfig to the same API server as `path`, by the certificate and the key that both are in the file `pemPath`: names and fields as
 * upstream's kubelet writes them.
 */
export function nodeKubeconfig(path: string, pemPath: string): string {
  const { rawCluster } = currentEntries(path);
  const authority = text(rawCluster['certificate-authority']);
  const cluster = {
    ...rawCluster,
    ...(authority !== '' && {
      'certificate-authority': resolve(dirname(resolve(path)), authority),
    }),
  };
  const context = { cluster: 'default-cluster', namespace: 'default', user: 'default-auth' };
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'default-cluster', cluster }],
    contexts: [{ name: 'default-context', context }],
    'current-context': 'default-context',
    users: [
      { name: 'default-auth', user: { 'client-certificate': pemPath, 'client-key': pemPath } },
    ],
  });
}

function hasOtherCredentials(user: Json): boolean {
  return ['token', 'tokenFile', 'exec', 'auth-provider', 'username'].some(
    (field) => user[field] !== undefined && user[field] !== '',
  );
}

function pemOf(user: Json, field: string, path: string): string | undefined {
  const data = text(user[`${field}-data`]);
  if (data !== '') return Buffer.from(data, 'base64').toString('utf8');
  const file = text(user[field]);
  return file === '' ? undefined : readFileSync(resolve(dirname(resolve(path)), file), 'utf8');
}
