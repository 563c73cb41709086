import type { Clock } from '../../clock.ts';
import { SwitchyardError, errorText } from '../../error.ts';
import type { ConnectApi } from '../../informer/api-connection.ts';
import {
  kubeconfigPair,
  kubeconfigProblem,
  nodeKubeconfig,
} from '../../informer/node-kubeconfig.ts';
import type { Log } from '../../telemetry/log.ts';
import { ObjectApi } from '../api/object-api.ts';
import { readPair, secretFile } from './certificate-store.ts';
import type { CertificateStore } from './certificate-store.ts';
import { clientWish, isOwnClient } from './client-certificate.ts';
import { RequestWait } from './request-wait.ts';
import { RequestRefused, signed } from './signing.ts';

export const signingKind = {
  apiVersion: 'certificates.k8s.io/v1',
  resource: 'certificatesigningrequests',
} as const;

export interface BootstrapOptions {
  /** '': there is none, the kubeconfig has to be there. */
  readonly bootstrapKubeconfig: string;
  /** '': no API server is wanted. */
  readonly kubeconfig: string;
  /** Whether the newest certificate of `store` counts more than that of the kubeconfig. */
  readonly rotateClient: boolean;
  readonly nodeName: string;
  readonly store: CertificateStore;
  readonly connect: ConnectApi;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
}

/**
 * Sees to it that the kubeconfig is there and its certificate, or the one that came after it, is good: where it is not, a certificate is asked
 * for by the bootstrap kubeconfig, for as long as it takes. Rejects where that cannot be used, or the kept one not be read, and when `signal` aborts.
 */
export async function bootstrapped(options: BootstrapOptions, signal: AbortSignal): Promise<void> {
  const { bootstrapKubeconfig, kubeconfig, clock, random, log, store } = options;
  if (bootstrapKubeconfig === '' || kubeconfig === '') return;
  const problem = kubeconfigProblem(kubeconfig, clock.now());
  if (problem === undefined || (await hasSuccessor(options))) return;
  log.info(
    { bootstrapKubeconfig, problem },
    `${kubeconfig} cannot be used yet: asks for a first certificate`,
  );
  const wait = new RequestWait(random);
  let isDone = false;
  while (!isDone) isDone = await tried(options, wait, signal);
  await secretFile(kubeconfig).write(nodeKubeconfig(bootstrapKubeconfig, store.currentPath));
  await store.dropPendingKey();
  log.info({ kubeconfig }, 'has its first certificate');
}

/** A kubeconfig that carries its certificate is not rewritten when that is renewed. */
async function hasSuccessor(options: BootstrapOptions): Promise<boolean> {
  const { kubeconfig, rotateClient, nodeName, store, clock } = options;
  if (!rotateClient || !hasPair(kubeconfig)) return false;
  return isOwnClient(await store.current(), nodeName, clock.now());
}

function hasPair(kubeconfig: string): boolean {
  try {
    const pair = kubeconfigPair(kubeconfig);
    return pair !== undefined && readPair(pair.cert, pair.key) !== undefined;
  } catch {
    return false;
  }
}

/** The key stays until the kubeconfig is written: who dies before that finds the same request, and its answer. */
async function tried(
  { bootstrapKubeconfig, nodeName, store, connect, clock, log }: BootstrapOptions,
  wait: RequestWait,
  signal: AbortSignal,
): Promise<boolean> {
  const connection = await connect({ kubeconfig: bootstrapKubeconfig }, { log });
  try {
    const key = await store.pendingKey();
    const api = new ObjectApi(connection.client, clock, signingKind);
    const cert = await signed(clientWish(nodeName), key, { api, clock, log }, signal);
    await store.keep(cert, key, clock.now());
    return true;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof RequestRefused) await store.dropPendingKey();
    const hint = error instanceof SwitchyardError ? error.hint : undefined;
    log.warn({}, `first certificate: ${errorText(error)}${hint === undefined ? '' : `; ${hint}`}`);
  } finally {
    await connection.close();
  }
  await clock.sleep(wait.nextMs(), signal);
  signal.throwIfAborted();
  return false;
}
