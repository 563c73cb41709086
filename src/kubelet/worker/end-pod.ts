import { SwitchyardError, errorText } from '../../error.ts';
import type { Pod } from '../pod/pod.ts';
import { killPod } from '../runtime/kill-pod.ts';
import { hasSomethingToKill } from '../runtime/pod-actions.ts';
import { currentStatus } from './current-status.ts';
import type { PodMemory, PodSurroundings } from './pod-surroundings.ts';

/** A pod that ends; `pod` is undefined where no source has it any more, and only the runtime knows of it. */
export interface Ending {
  readonly uid: string;
  readonly pod: Pod | undefined;
}

/** Ends all that runs of a pod, within `graceSeconds`. Rejects where something still runs then. */
export async function terminatePod(
  { uid, pod }: Ending,
  graceSeconds: number,
  memory: PodMemory,
  around: PodSurroundings,
  signal: AbortSignal,
): Promise<void> {
  const runtime = await around.view.pod(uid, signal);
  if (pod !== undefined) {
    around.status.set(pod, await currentStatus(pod, runtime, 'terminating', memory, around));
  }
  around.probes.terminating(uid);
  if (runtime !== undefined && hasSomethingToKill(runtime)) {
    await killPod({ pod, runtime }, { grace: graceSeconds }, around, signal);
  }
  around.probes.remove(uid);
  const after = await around.view.pod(uid, signal);
  const running = after?.containers.filter(
    ({ state }) => state === 'running' || state === 'unknown',
  );
  if (running !== undefined && running.length > 0) {
    const names = running.map(({ name }) => name).join(', ');
    throw new SwitchyardError('tool', `containers still run: ${names}`, { retryable: true });
  }
  if (pod !== undefined) {
    around.status.set(pod, await currentStatus(pod, after, 'terminating', memory, around));
  }
}

/** Gives back what a pod had whose containers have all ended; then its object may go. */
export async function finishPod(
  { uid, pod }: Ending,
  memory: PodMemory,
  around: PodSurroundings,
  signal: AbortSignal,
): Promise<void> {
  const runtime = pod === undefined ? undefined : await around.view.pod(uid, signal);
  await around.volumes.tearDown(uid);
  around.referenced?.unregister(uid);
  try {
    await around.cgroups.remove(uid);
  } catch (thrown) {
    // The node's upkeep tries again; nothing of the pod runs, and its object need not wait for that.
    around.log.warn({ uid }, `cgroup of a pod that has ended: ${errorText(thrown)}`);
  }
  around.images.forget(uid);
  around.backOff.forget(`${uid}/`);
  if (pod === undefined) return;
  const status = await currentStatus(pod, runtime, 'terminated', memory, around);
  around.status.terminated(pod, status);
}
