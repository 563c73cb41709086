import { criText, isNotFound } from '../cri/cri-error.ts';
import { dnsConfig } from '../environment/dns-config.ts';
import { podHostname } from '../environment/hostname.ts';
import type { Container } from '../pod/container.ts';
import type { PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import type { PodAddresses } from '../ports/environment.ts';
import type { MeteredContainer } from '../ports/pod-meter.ts';
import type { MountedVolume } from '../ports/volumes.ts';
import { killContainer, killPod } from '../runtime/kill-pod.ts';
import { crashLoopKey, lastExitMs } from '../runtime/pod-action.ts';
import type { ContainerKind, PodAction } from '../runtime/pod-action.ts';
import { usableSandbox } from '../runtime/pod-actions.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';
import { sandboxConfig } from '../runtime/sandbox-config.ts';
import { startContainer } from '../runtime/start-container.ts';
import { StartError } from '../ports/start-error.ts';
import { currentStatus } from './current-status.ts';
import { goDuration } from './go-duration.ts';
import type { PodMemory, PodSurroundings } from './pod-surroundings.ts';

export interface ActionsTarget {
  readonly pod: Pod;
  readonly runtime: RuntimePod | undefined;
  readonly status: PodStatus;
  readonly mounted: ReadonlyMap<string, MountedVolume>;
}

export interface Performed {
  /** The earliest time at which something that had to wait, or failed, can be tried again. */
  readonly retryAtMs: number | undefined;
  /** A container could not be started, for a reason that no time is known for. */
  readonly failed: boolean;
  /** Something is other than before. */
  readonly changed: boolean;
}

/** Carries out what a pod needs next, in order. Rejects where something failed that all the rest depends on. */
export async function performActions(
  target: ActionsTarget,
  actions: readonly PodAction[],
  memory: PodMemory,
  around: PodSurroundings,
  signal: AbortSignal,
): Promise<Performed> {
  const performance = new Performance(target, memory, around, signal);
  for (const action of actions) {
    signal.throwIfAborted();
    await performance.perform(action);
  }
  return performance.result();
}

const meteredTypes = {
  regular: 'container',
  init: 'init_container',
  sidecar: 'init_container',
  ephemeral: 'ephemeral_container',
} as const satisfies Record<ContainerKind, MeteredContainer>;

class Performance {
  readonly #target: ActionsTarget;
  readonly #memory: PodMemory;
  readonly #around: PodSurroundings;
  readonly #signal: AbortSignal;
  #sandbox: { readonly id: string; readonly attempt: number } | undefined;
  #status: PodStatus;
  #retryAtMs: number | undefined;
  #failed = false;
  #changed = false;

  constructor(
    target: ActionsTarget,
    memory: PodMemory,
    around: PodSurroundings,
    signal: AbortSignal,
  ) {
    this.#target = target;
    this.#memory = memory;
    this.#around = around;
    this.#signal = signal;
    this.#sandbox = usableSandbox(target.pod, target.runtime);
    this.#status = target.status;
  }

  result(): Performed {
    return { retryAtMs: this.#retryAtMs, failed: this.#failed, changed: this.#changed };
  }

  async perform(action: PodAction): Promise<void> {
    const { pod, runtime } = this.#target;
    if (action.kind !== 'wait' && action.kind !== 'start') this.#changed = true;
    switch (action.kind) {
      case 'killPod':
        if (runtime !== undefined) await this.#killPod(runtime, action.why);
        return;
      case 'killContainer': {
        if (runtime === undefined) return;
        const { container, message, why } = action;
        const one = { pod, runtime, container };
        await killContainer(one, { message, why }, this.#around, this.#signal);
        return;
      }
      case 'removeContainer':
        await this.#remove(action.container.id);
        return;
      case 'createSandbox':
        await this.#createSandbox(action.attempt);
        return;
      case 'start':
        await this.#start(action);
        return;
      case 'wait':
        this.#wait(action.container, action);
        return;
      default:
        action satisfies never;
    }
  }

  async #killPod(runtime: RuntimePod, why: string): Promise<void> {
    const { pod } = this.#target;
    if (why === 'recreate' && runtime.sandboxes.length > 0) {
      const message = 'Pod sandbox changed, it will be killed and re-created.';
      this.#around.events.tell(pod, { type: 'Normal', reason: 'SandboxChanged', message });
    }
    await killPod({ pod, runtime }, {}, this.#around, this.#signal);
  }

  async #remove(containerId: string): Promise<void> {
    try {
      await this.#around.runtime.removeContainer({ containerId });
    } catch (thrown) {
      if (!isNotFound(thrown)) throw thrown;
    }
  }

  async #createSandbox(attempt: number): Promise<void> {
    const { pod } = this.#target;
    const { events, files, runtime, runtimeHandlers, view } = this.#around;
    try {
      await files.makeLogDir(pod);
      const runtimeHandler = await runtimeHandlers.of(pod, this.#signal);
      const config = this.#sandboxConfig(attempt, true);
      // not cut short: half of a sandbox would keep the name
      const { podSandboxId } = await runtime.runPodSandbox({ config, runtimeHandler });
      this.#sandbox = { id: podSandboxId, attempt };
    } catch (thrown) {
      this.#signal.throwIfAborted();
      const message = `Failed to create pod sandbox: ${criText(thrown)}`;
      events.tell(pod, { type: 'Warning', reason: 'FailedCreatePodSandBox', message });
      throw new StartError('CreatePodSandboxError', message, { cause: thrown });
    }
    const now = await view.pod(pod.metadata.uid);
    this.#status = await currentStatus(pod, now, 'syncing', this.#memory, this.#around);
    this.#around.status.set(pod, this.#status);
  }

  #sandboxConfig(attempt: number, isNew: boolean) {
    const { pod } = this.#target;
    const { cgroups, events, settings } = this.#around;
    const { dns, events: found } = dnsConfig(pod, this.#around.dns());
    if (isNew) for (const event of found) events.tell(pod, event);
    const hostname = this.#hostname().sandbox;
    const input = { pod, attempt, hostname, dns, cgroupParent: cgroups.parent(pod) };
    return sandboxConfig(input, settings);
  }

  #hostname() {
    return podHostname(this.#target.pod, this.#around.dns().clusterDomain);
  }

  async #start({ container, attempt, as }: PodAction & { kind: 'start' }): Promise<void> {
    const { pod, runtime, mounted } = this.#target;
    const sandbox = this.#sandbox;
    if (sandbox === undefined) return;
    const { meter } = this.#around;
    const type = meteredTypes[as];
    meter?.containerStarting(type);
    const endedMs = lastExitMs(runtime, container.name);
    if (endedMs !== undefined) this.#around.backOff.next(crashLoopKey(pod, container), endedMs);
    try {
      await startContainer(
        {
          pod,
          container,
          attempt,
          sandboxId: sandbox.id,
          sandbox: this.#sandboxConfig(sandbox.attempt, false),
          addresses: this.#addresses(),
          hostname: this.#hostname(),
          mounted,
          runtime,
        },
        this.#around,
        this.#signal,
      );
      this.#memory.failures.delete(container.name);
      this.#changed = true;
    } catch (thrown) {
      this.#signal.throwIfAborted();
      if (!(thrown instanceof StartError)) throw thrown;
      const { reason, message, retryAtMs } = thrown;
      meter?.containerFailed(type, reason);
      this.#memory.failures.set(container.name, { reason, message });
      if (retryAtMs === undefined) this.#failed = true;
      else this.#retryAt(retryAtMs);
    }
  }

  #wait(
    { name }: Container,
    { untilMs, delayMs }: { readonly untilMs: number; readonly delayMs: number },
  ): void {
    const { pod } = this.#target;
    const { name: podName, namespace, uid } = pod.metadata;
    const text = `${podName}_${namespace}(${uid})`;
    const message = `back-off ${goDuration(delayMs)} restarting failed container=${name} pod=${text}`;
    this.#memory.failures.set(name, { reason: 'CrashLoopBackOff', message });
    this.#retryAt(untilMs);
    this.#around.events.tell(pod, {
      type: 'Warning',
      reason: 'BackOff',
      message: `Back-off restarting failed container ${name} in pod ${text}`,
      container: name,
    });
  }

  #addresses(): PodAddresses {
    const podIPs = (this.#status.podIPs ?? []).map(({ ip }) => ip);
    return { podIPs, hostIPs: this.#around.hostIPs() };
  }

  #retryAt(ms: number): void {
    this.#retryAtMs = Math.min(this.#retryAtMs ?? Infinity, ms);
  }
}
