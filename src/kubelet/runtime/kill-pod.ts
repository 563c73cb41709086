import type { Clock } from '../../clock.ts';
import { SwitchyardError } from '../../error.ts';
import type { Cri } from '../cri/client.ts';
import { criText, isNotFound } from '../cri/cri-error.ts';
import type { Container, Hook } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import { isSidecar } from '../pod/container.ts';
import { allContainers } from '../pod/pod.ts';
import type { PodEvents } from '../ports/pod-events.ts';
import { runHook } from './hooks.ts';
import type { HookSurroundings } from './hooks.ts';
import { annotations } from './labels.ts';
import type { KillReason } from './pod-action.ts';
import type { RuntimeContainer, RuntimePod } from './runtime-pod.ts';

/** The runtime is always given as much, so that a process can at least hear of its end. */
const leastGraceSeconds = 2;

export interface KillSurroundings extends HookSurroundings {
  readonly runtime: Pick<Cri['runtime'], 'execSync' | 'stopContainer' | 'stopPodSandbox'>;
  readonly clock: Clock;
  readonly events: PodEvents;
  /** The node's own addresses, its primary family first: those of pods with its network. */
  readonly hostIPs: () => readonly string[];
}

/** What is killed. `pod` is undefined where nothing is left of its spec but what its containers carry. */
export interface KillTarget {
  readonly pod: Pod | undefined;
  readonly runtime: RuntimePod;
}

export interface KillOptions {
  /** In seconds, instead of what the pod says. */
  readonly grace?: number;
  readonly why?: KillReason;
  /** Of the Event; a default where there is none. */
  readonly message?: string;
}

/**
 * Ends all containers, each by its hook, its signal and at last by force: regular ones together, then sidecars in reverse order; then the
 * sandboxes. Rejects where one could not be ended, after trying all. An abort of `signal` leaves off, for another one to go on.
 */
export async function killPod(
  target: KillTarget,
  options: KillOptions,
  around: KillSurroundings,
  signal: AbortSignal,
): Promise<void> {
  await killContainers(target, options, around, signal);
  for (const { id } of target.runtime.sandboxes) {
    try {
      await around.runtime.stopPodSandbox({ podSandboxId: id }, { signal });
    } catch (thrown) {
      if (!isNotFound(thrown)) throw thrown;
    }
  }
}

async function killContainers(
  target: KillTarget,
  options: KillOptions,
  around: KillSurroundings,
  signal: AbortSignal,
): Promise<void> {
  const alive = target.runtime.containers.filter(
    ({ state }) => state === 'running' || state === 'unknown',
  );
  const ended = new Map(alive.map(({ id }) => [id, Promise.withResolvers<undefined>()]));
  const results = await Promise.allSettled(
    alive.map(async (container) => {
      const before = endsBefore(target.pod, container, alive);
      const turn = Promise.all(before.map(async ({ id }) => ended.get(id)?.promise));
      try {
        await killContainer({ ...target, container }, { ...options, turn }, around, signal);
      } finally {
        ended.get(container.id)?.resolve(undefined);
      }
    }),
  );
  signal.throwIfAborted();
  const failures = results.flatMap((one) =>
    one.status === 'rejected' ? [criText(one.reason)] : [],
  );
  if (failures.length === 0) return;
  throw new SwitchyardError('tool', `containers could not be ended: ${failures.join('; ')}`, {
    retryable: true,
  });
}

/** Those that a container waits for: a sidecar for all regular ones, and for the sidecars that were started after it. */
function endsBefore(
  pod: Pod | undefined,
  { name }: RuntimeContainer,
  alive: readonly RuntimeContainer[],
): readonly RuntimeContainer[] {
  const init = pod?.spec.initContainers ?? [];
  const place = init.findIndex((one) => one.name === name && isSidecar(one));
  if (place < 0) return [];
  const later = new Set(init.slice(place + 1).map((one) => one.name));
  const regular = new Set(pod?.spec.containers.map((one) => one.name));
  return alive.filter((one) => regular.has(one.name) || later.has(one.name));
}

/** Ends one container; what has ended by itself meanwhile is fine. */
export async function killContainer(
  target: KillTarget & { readonly container: RuntimeContainer },
  options: KillOptions & { readonly turn?: Promise<unknown> },
  around: KillSurroundings,
  signal: AbortSignal,
): Promise<void> {
  const { container, pod } = target;
  const spec = specOf(pod, container.name);
  const { clock, runtime } = around;
  const of = pod ?? restoredPod(target.runtime);
  const message = options.message ?? `Stopping container ${container.name}`;
  around.events.tell(of, { type: 'Normal', reason: 'Killing', message, container: container.name });
  let grace = options.grace ?? graceOf(pod, spec, container, options.why);
  const startMs = clock.monotonic();
  const hook = spec === undefined ? restoredHook(container) : spec.lifecycle?.preStop;
  if (hook !== undefined && grace > 0 && container.state === 'running') {
    await preStop(hook, { of, spec, target, graceSeconds: grace }, around, signal);
  }
  await options.turn;
  signal.throwIfAborted();
  grace -= Math.floor((clock.monotonic() - startMs) / 1000);
  const timeout = BigInt(Math.max(grace, leastGraceSeconds));
  try {
    await runtime.stopContainer({ containerId: container.id, timeout }, { signal });
  } catch (thrown) {
    if (!isNotFound(thrown)) throw thrown;
  }
}

interface PreStop {
  readonly of: Pick<Pod, 'metadata' | 'spec'>;
  readonly spec: Container | undefined;
  readonly target: KillTarget & { readonly container: RuntimeContainer };
  readonly graceSeconds: number;
}

async function preStop(
  hook: Hook,
  { of, spec, target, graceSeconds }: PreStop,
  around: KillSurroundings,
  signal: AbortSignal,
): Promise<void> {
  const { container, runtime } = target;
  const over = new AbortController();
  const late = new AbortController();
  const watch = async (): Promise<void> => {
    await around.clock.sleep(graceSeconds * 1000, over.signal);
    if (!over.signal.aborted)
      late.abort(new SwitchyardError('timeout', 'the grace period is over'));
  };
  const watching = watch();
  const within = AbortSignal.any([signal, late.signal]);
  const hooked = {
    pod: of,
    container: spec ?? restoredContainer(container),
    containerId: container.id,
    podIP: runtime.sandboxes[0]?.ips[0] ?? around.hostIPs()[0],
  };
  try {
    await runHook(hook, hooked, around, within);
  } catch {
    if (!signal.aborted) {
      const event = {
        type: 'Warning',
        reason: 'FailedPreStopHook',
        message: 'PreStopHook failed',
      } as const;
      around.events.tell(of, { ...event, container: container.name });
    }
  } finally {
    over.abort();
    await watching;
  }
  signal.throwIfAborted();
}

function specOf(pod: Pod | undefined, name: string): Container | undefined {
  return pod && allContainers(pod.spec).find((one) => one.name === name);
}

function graceOf(
  pod: Pod | undefined,
  spec: Container | undefined,
  { annotations: kept }: RuntimeContainer,
  why: KillReason | undefined,
): number {
  if (pod === undefined) {
    const text = kept[annotations.deletionGrace] ?? kept[annotations.terminationGrace];
    return text === undefined || !/^\d+$/.test(text) ? leastGraceSeconds : Number(text);
  }
  const { deletionGracePeriodSeconds } = pod.metadata;
  if (deletionGracePeriodSeconds !== undefined) return deletionGracePeriodSeconds;
  const probe =
    why === 'liveness' ? spec?.livenessProbe : why === 'startup' ? spec?.startupProbe : undefined;
  return probe?.terminationGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds;
}

function restoredHook({ annotations: kept }: RuntimeContainer): Hook | undefined {
  const text = kept[annotations.preStop];
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Hook;
  } catch {
    return undefined;
  }
}

/** As far as an Event or a hook needs it. */
function restoredPod({ uid, name, namespace }: RuntimePod): Pick<Pod, 'metadata' | 'spec'> {
  const metadata = { uid, name, namespace, labels: {}, annotations: {} };
  const none = { containers: [], initContainers: [], ephemeralContainers: [] };
  return { metadata, spec: none as unknown as Pod['spec'] };
}

function restoredContainer({ name, annotations: kept }: RuntimeContainer): Container {
  let ports: Container['ports'] = [];
  try {
    ports = JSON.parse(kept[annotations.ports] ?? '[]') as Container['ports'];
  } catch {
    // by its number a port is found without them
  }
  return { name, ports } as Container;
}
