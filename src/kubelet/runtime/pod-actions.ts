import { isSidecar } from '../pod/container.ts';
import type { Container } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import { ephemeralActions } from './ephemeral-actions.ts';
import { hasPassed, initActions, within } from './init-actions.ts';
import { failedProbe, isChanged, startOrWait } from './pod-action.ts';
import type { ActionsInput, PodAction } from './pod-action.ts';
import { newest, withoutCreated } from './runtime-pod.ts';
import type { RuntimeContainer, RuntimePod, RuntimeSandbox } from './runtime-pod.ts';

/** What a pod's containers need next; nothing where all is as it should be. */
export function podActions(input: ActionsInput): readonly PodAction[] {
  const { pod, runtime } = input;
  if (input.terminating || pod.metadata.deletionTimestamp !== undefined) {
    return hasSomethingToKill(runtime) ? [{ kind: 'killPod', why: 'terminating' }] : [];
  }
  const sandbox = usableSandbox(pod, runtime);
  return sandbox === undefined ? inNewSandbox(input) : inSandbox(input, sandbox);
}

/** The sandbox that a pod can go on in; undefined: it needs a new one. */
export function usableSandbox(
  pod: Pick<Pod, 'spec'>,
  runtime: RuntimePod | undefined,
): RuntimeSandbox | undefined {
  const sandboxes = runtime?.sandboxes ?? [];
  const [sandbox] = sandboxes;
  if (sandbox === undefined || sandbox.state !== 'ready') return undefined;
  if (sandboxes.filter(({ state }) => state === 'ready').length > 1) return undefined;
  if ((sandbox.network === 'node') !== pod.spec.hostNetwork) return undefined;
  if (!pod.spec.hostNetwork && sandbox.ips.length === 0) return undefined;
  return sandbox;
}

/** A container that was created and never started has nothing to be killed. */
function isAlive({ state }: RuntimeContainer): boolean {
  return state === 'running' || state === 'unknown';
}

/** Whether anything of a pod still runs, or may. */
export function hasSomethingToKill(runtime: RuntimePod | undefined): boolean {
  return (
    runtime !== undefined &&
    (runtime.containers.some(isAlive) || runtime.sandboxes.some(({ state }) => state === 'ready'))
  );
}

function inNewSandbox(given: ActionsInput): readonly PodAction[] {
  const input = { ...given, runtime: withoutCreated(given.runtime) };
  const { pod, runtime } = input;
  const { restartPolicy, containers, initContainers } = pod.spec;
  const last = runtime?.sandboxes[0];
  const attempt = last === undefined ? 0 : last.attempt + 1;
  if (restartPolicy === 'Never' && attempt !== 0 && hasBegun(pod, runtime)) return ended(runtime);
  const due = containers.filter((container) => !hasSucceededForGood(pod, runtime, container));
  // that they have succeeded shows that it was initialised, too, whatever is left of its init containers
  if (due.length === 0) return ended(runtime);
  const [first] = initContainers;
  const starts =
    first === undefined
      ? due.map((container) => startOrWait(input, container, 'regular'))
      : [startOrWait(input, first, isSidecar(first) ? 'sidecar' : 'init')];
  return [...clearing(given), { kind: 'createSandbox', attempt }, ...starts];
}

/**
 * Whether a pod whose containers run once has had its turn: one of them ran, or an init container failed. A sandbox that is lost while
 * it was initialised costs the pod nothing: it is initialised anew.
 */
function hasBegun({ spec }: Pod, runtime: RuntimePod | undefined): boolean {
  const ran = ({ name }: Container): boolean =>
    runtime?.containers.some((one) => one.name === name) ?? false;
  const failed = (container: Container): boolean => {
    const last = newest(runtime, container.name);
    return !isSidecar(container) && last?.state === 'exited' && !hasPassed(last);
  };
  return spec.containers.some(ran) || spec.initContainers.some(failed);
}

function ended(runtime: RuntimePod | undefined): readonly PodAction[] {
  return hasSomethingToKill(runtime) ? [{ kind: 'killPod', why: 'ended' }] : [];
}

/** What goes before there is a new sandbox; initialisation begins anew in it. */
function clearing({ pod, runtime }: ActionsInput): readonly PodAction[] {
  const list: PodAction[] = [];
  if (runtime !== undefined && (runtime.sandboxes.length > 0 || hasSomethingToKill(runtime))) {
    list.push({ kind: 'killPod', why: 'recreate' });
  }
  const initNames = new Set(pod.spec.initContainers.map(({ name }) => name));
  for (const container of runtime?.containers ?? []) {
    const isOfNoUse = initNames.has(container.name) || container.state === 'created';
    if (isOfNoUse) list.push({ kind: 'removeContainer', container });
  }
  return list;
}

function inSandbox(given: ActionsInput, sandbox: RuntimeSandbox): readonly PodAction[] {
  const { strays, input: all } = withoutStrays(given, sandbox);
  const input = { ...all, runtime: withoutCreated(all.runtime) };
  const { pod } = input;
  const init = initActions(input, sandbox, hasRegular(pod, within(all.runtime, sandbox)));
  if (init.failed) return [{ kind: 'killPod', why: 'ended' }];
  const surplus = [...neverStarted(all), ...surplusInit(input)];
  const ephemeral = ephemeralActions(pod, input.runtime, input.features);
  if (!init.done) return [...strays, ...init.kills, ...surplus, ...ephemeral, ...init.starts];
  const kills: PodAction[] = [];
  const starts: PodAction[] = [];
  let kept = 0;
  for (const container of pod.spec.containers) {
    const verdict = judge(input, container);
    if (verdict.kill !== undefined) kills.push(verdict.kill);
    if (verdict.start) starts.push(startOrWait(input, container, 'regular'));
    if (verdict.kept) kept += 1;
  }
  // so completed pods lose their sandbox, and sidecars do not keep them alive
  if (kept === 0 && starts.length === 0) return [{ kind: 'killPod', why: 'ended' }];
  return [...strays, ...init.kills, ...kills, ...surplus, ...ephemeral, ...init.starts, ...starts];
}

/** Whether a regular container is made or runs. That one has ended proves nothing: after a reboot it was of the sandbox before. */
function hasRegular({ spec }: Pod, runtime: RuntimePod | undefined): boolean {
  return spec.containers.some(({ name }) => {
    const state = newest(runtime, name)?.state;
    return state === 'created' || state === 'running';
  });
}

/** A container that lives on in a sandbox that was replaced is killed, and counts as dead; one that never lived counts for nothing. */
function withoutStrays(
  input: ActionsInput,
  sandbox: RuntimeSandbox,
): { readonly strays: readonly PodAction[]; readonly input: ActionsInput } {
  const { runtime } = input;
  const strays: PodAction[] = [];
  if (runtime === undefined) return { strays, input };
  const containers = runtime.containers.flatMap((one): readonly RuntimeContainer[] => {
    if (one.sandboxId === sandbox.id || one.state === 'exited') return [one];
    if (!isAlive(one)) {
      strays.push({ kind: 'removeContainer', container: one });
      return [];
    }
    const message = `Container ${one.name} is in a sandbox that was replaced`;
    strays.push({ kind: 'killContainer', container: one, why: 'unknown', message });
    return [{ ...one, state: 'exited', exitCode: 137 }];
  });
  return { strays, input: { ...input, runtime: { ...runtime, containers } } };
}

/** The agent was killed between making a container and starting it: another one takes its place, and its number. */
function neverStarted({ runtime }: ActionsInput): readonly PodAction[] {
  const created = runtime?.containers.filter(({ state }) => state === 'created') ?? [];
  return created.map((container): PodAction => ({ kind: 'removeContainer', container }));
}

/** Dead instances of init containers but the newest of each. */
function surplusInit({ pod, runtime }: ActionsInput): readonly PodAction[] {
  const surplus: PodAction[] = [];
  for (const { name } of pod.spec.initContainers) {
    const dead = runtime?.containers.filter((one) => one.name === name && one.state === 'exited');
    for (const container of dead?.slice(1) ?? [])
      surplus.push({ kind: 'removeContainer', container });
  }
  return surplus;
}

interface Verdict {
  readonly kill?: PodAction;
  readonly start?: boolean;
  readonly kept?: boolean;
}

/** Spec 2.5. */
function judge(input: ActionsInput, container: Container): Verdict {
  const { pod, runtime } = input;
  const { name } = container;
  const last = newest(runtime, name);
  if (last === undefined) return { start: true };
  const start = pod.spec.restartPolicy !== 'Never';
  switch (last.state) {
    case 'unknown': {
      const message = `Container ${name} is in "unknown" state, try killing it before restart`;
      const kill: PodAction = { kind: 'killContainer', container: last, why: 'unknown', message };
      return { kill, start: true };
    }
    case 'created':
      // it is removed, and another one made
      return { start: true };
    case 'exited':
      return { start: !hasEndedForGood(pod, last) };
    case 'running': {
      if (isChanged(container, last)) {
        const message = `Container ${name} definition changed, will be restarted`;
        const kill: PodAction = { kind: 'killContainer', container: last, why: 'changed', message };
        return { kill, start: true };
      }
      const failed = failedProbe(input.probes, pod, last);
      if (failed === undefined) return { kept: true };
      const message = `Container ${name} failed ${failed} probe${start ? ', will be restarted' : ''}`;
      return { kill: { kind: 'killContainer', container: last, why: failed, message }, start };
    }
    default:
      return last.state satisfies never;
  }
}

function hasEndedForGood({ spec }: Pod, { exitCode }: RuntimeContainer): boolean {
  if (spec.restartPolicy === 'OnFailure') return exitCode === 0;
  return spec.restartPolicy === 'Never';
}

function hasSucceededForGood(
  pod: Pod,
  runtime: RuntimePod | undefined,
  { name }: Container,
): boolean {
  const last = newest(runtime, name);
  return pod.spec.restartPolicy === 'OnFailure' && last?.state === 'exited' && last.exitCode === 0;
}
