import { access } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Clock } from '../clock.ts';
import type { ConnectApi } from '../informer/api-connection.ts';

const lookMs = 500;

/**
 * Connects by a kubeconfig that the other half of a node has yet to get, with its first certificate: not before it is there. Rejects when
 * `signal` aborts.
 */
export function onceThere(
  connect: ConnectApi,
  path: string,
  clock: Clock,
  signal: AbortSignal,
): ConnectApi {
  return async (settings, use) => {
    const given = settings.kubeconfig ?? '';
    if (given === '' || resolve(given) !== resolve(path)) return connect(settings, use);
    for (let isFirst = true; !(await isThere(path)); isFirst = false) {
      if (isFirst) use.log.info({}, `waits for ${path}, which comes with the node's certificate`);
      await clock.sleep(lookMs, signal);
      signal.throwIfAborted();
    }
    return connect(settings, use);
  };
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
