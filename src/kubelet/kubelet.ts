import { SwitchyardError } from '../error.ts';
import { InstanceLock } from '../host/instance-lock.ts';
import { adjustOomScore } from '../host/oom-score.ts';
import { aborted } from '../informer/wakeup.ts';
import type { KubeletBase } from './base/kubelet-base.ts';
import type { KubeletOptions } from './base/kubelet-options.ts';
import { nodeNameOf } from './base/node-name.ts';
import { openBase } from './base/open-base.ts';
import { NodeCertificates } from './parts/node-certificates.ts';
import { NodeParts } from './parts/node-parts.ts';
import { PodParts } from './parts/pod-parts.ts';

/**
 * Runs the pods of this node until `signal` aborts; containers run on then. Rejects where the start cannot succeed: also where
 * another kubelet has the same root directory.
 */
export async function runKubelet(options: KubeletOptions, signal: AbortSignal): Promise<void> {
  const { config, hostname, log } = options;
  const nodeName = nodeNameOf(config.node.hostnameOverride, hostname);
  const lock = await lockRoot(config.rootDir, nodeName);
  await adjustOomScore(config.oomScoreAdj, log);
  let pods: PodParts | undefined;
  let base: KubeletBase | undefined;
  try {
    base = await openBase(options, nodeName, () => pods?.relistedAtMs, signal);
    const onOpened = (opened: PodParts): void => {
      pods = opened;
    };
    await runParts(base, onOpened, signal);
  } finally {
    await base?.api?.close();
    await lock.release();
    log.info({}, 'stopped; containers run on');
  }
}

/** Runs all parts of a kubelet until `signal`, or until one of them fails. */
export async function runParts(
  base: KubeletBase,
  onOpened: (pods: PodParts) => void,
  signal: AbortSignal,
): Promise<void> {
  const stop = new AbortController();
  const onStop = (): void => stop.abort();
  signal.addEventListener('abort', onStop, { once: true });
  if (signal.aborted) stop.abort();
  const running: Promise<unknown>[] = [];
  try {
    const node = new NodeParts(base);
    const certificates = await NodeCertificates.open(base, node);
    running.push(
      base.health.run(stop.signal),
      base.events.run(stop.signal),
      node.run(stop.signal),
      certificates.run(stop.signal),
    );
    const pods = await PodParts.open(base, node, certificates);
    onOpened(pods);
    running.push(pods.run(stop.signal));
    await Promise.race([Promise.all(running), aborted(stop.signal)]);
  } finally {
    stop.abort();
    signal.removeEventListener('abort', onStop);
    await Promise.allSettled(running);
  }
}

/** Two would pull the same containers about. */
async function lockRoot(rootDir: string, nodeName: string): Promise<InstanceLock> {
  const lock = await InstanceLock.take(rootDir, 'kubelet', `kubelet of node ${nodeName}`);
  if (lock instanceof InstanceLock) return lock;
  lock.forget();
  const who = lock.said ?? 'a process that does not answer';
  throw new SwitchyardError('missing', `${rootDir} is in use: ${who} runs`, {
    hint: 'end it, or give this one a --root-dir and a cgroupRoot of its own',
  });
}
