import { allContainers } from '../pod/pod.ts';
import type { Container } from '../pod/container.ts';
import type { PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import type { StatusInput } from '../status/status-input.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';
import { derivePodStatus } from '../status/derive-status.ts';
import { readTerminationMessage } from '../status/termination-message.ts';
import type { PodMemory, PodSurroundings } from './pod-surroundings.ts';

/** The status that follows from what the runtime has now. */
export async function currentStatus(
  pod: Pod,
  runtime: RuntimePod | undefined,
  worker: StatusInput['worker'],
  memory: PodMemory,
  around: PodSurroundings,
): Promise<PodStatus> {
  await readMessages(pod, runtime, memory.terminationMessages);
  return derivePodStatus({
    pod,
    runtime,
    previous: around.status.current(pod),
    probes: around.probes,
    failures: memory.failures,
    ...(memory.forced !== undefined && { forced: memory.forced }),
    worker,
    terminationMessages: memory.terminationMessages,
    hostIPs: around.hostIPs(),
    nowMs: around.clock.now(),
  });
}

/** Each once: a container that has ended says no more. */
async function readMessages(
  { spec }: Pod,
  runtime: RuntimePod | undefined,
  known: Map<string, string>,
): Promise<void> {
  const specs = new Map<string, Container>(allContainers(spec).map((one) => [one.name, one]));
  const there = new Set<string>();
  for (const ended of runtime?.containers ?? []) {
    there.add(ended.id);
    const container = specs.get(ended.name);
    if (ended.state !== 'exited' || container === undefined || known.has(ended.id)) continue;
    known.set(ended.id, await readTerminationMessage(ended, container));
  }
  for (const id of known.keys()) if (!there.has(id)) known.delete(id);
}
