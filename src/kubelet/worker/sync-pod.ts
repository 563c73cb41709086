import { SwitchyardError, errorText } from '../../error.ts';
import { allContainers } from '../pod/pod.ts';
import type { PodPhase } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import {
  UNSUPPORTED,
  ephemeralProblems,
  unsupportedFields,
  unsupportedText,
} from '../pod/unsupported.ts';
import type { MountedVolume } from '../ports/volumes.ts';
import { killPod } from '../runtime/kill-pod.ts';
import { podActions } from '../runtime/pod-actions.ts';
import { isUp, newest } from '../runtime/runtime-pod.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';
import { seenAtMs } from '../sources/sourced-pod.ts';
import { isTerminal } from '../status/phase.ts';
import { currentStatus } from './current-status.ts';
import { deadlineExceeded, deadlineMs } from './deadline.ts';
import { performActions } from './perform-actions.ts';
import type { PodMemory, PodSurroundings } from './pod-surroundings.ts';

/** What came of a sync, and when the next is due. */
export type Synced =
  /** All is as it should be; `atMs`: something changes by itself then. */
  | { readonly kind: 'settled'; readonly atMs: number | undefined }
  /** Something was changed: what follows from it is due at once. */
  | { readonly kind: 'again' }
  /** What failed was told of. */
  | { readonly kind: 'failed'; readonly atMs: number | undefined }
  /** Pods with a network of their own cannot start yet. */
  | { readonly kind: 'noNetwork' }
  /** The pod has ended by itself. */
  | { readonly kind: 'ended' };

/** Brings one pod a step nearer to what its spec says. */
export async function syncPod(
  pod: Pod,
  memory: PodMemory,
  around: PodSurroundings,
  signal: AbortSignal,
): Promise<Synced> {
  const { knownAtMs } = memory;
  // Not known again before this one has ended well.
  memory.knownAtMs = undefined;
  const runtime = await around.view.latest(pod.metadata.uid, knownAtMs, signal);
  forgetPastFailures(runtime, memory);
  const unsupported = refuseUnsupported(pod, memory, around);
  refuseEphemeral(pod, memory, around);
  checkDeadline(pod, memory, around);
  const before = around.status.current(pod).phase;
  const status = await currentStatus(pod, runtime, 'syncing', memory, around);
  around.status.set(pod, status);
  noteRunning(pod, before, status.phase, around);
  if (isTerminal(status.phase)) return { kind: 'ended' };
  const deadline = deadlineMs(pod, status);
  if (unsupported) return { kind: 'settled', atMs: deadline };
  if (!hasNetwork(pod, around)) return { kind: 'noNetwork' };
  around.referenced?.register(pod);
  await ensureCgroup(pod, runtime, memory, around, signal);
  memory.isFirst = false;
  around.reconcileMirror?.(pod);
  await makeDirs(pod, around);
  const mounted = await mountedVolumes(pod, around, signal);
  if (mounted === undefined) return { kind: 'failed', atMs: deadline };
  around.probes.ensure(pod, status);
  const input = {
    pod,
    runtime,
    probes: around.probes,
    backOff: around.backOff,
    terminating: false,
    features: around.features,
  };
  const target = { pod, runtime, status, mounted };
  const done = await performActions(target, podActions(input), memory, around, signal);
  if (done.failed || done.retryAtMs !== undefined) {
    await showFailures(pod, memory, around, signal);
  }
  const atMs = earliest(done.retryAtMs, deadline);
  if (done.failed) return { kind: 'failed', atMs };
  return done.changed ? { kind: 'again' } : { kind: 'settled', atMs };
}

/** Where it runs since this sync. */
function noteRunning(
  pod: Pod,
  before: PodPhase | undefined,
  phase: PodPhase | undefined,
  { meter, clock }: PodSurroundings,
): void {
  if (before === phase || phase !== 'Running') return;
  const seenMs = seenAtMs(pod);
  if (seenMs !== undefined) meter?.podRunning(Math.max(0, clock.now() - seenMs) / 1000);
}

/** A container that runs has nothing to wait for any more. */
function forgetPastFailures(runtime: RuntimePod | undefined, { failures }: PodMemory): void {
  for (const name of failures.keys()) {
    if (newest(runtime, name)?.state === 'running') failures.delete(name);
  }
}

/** Why containers wait is part of the status at once, not with the next sync. */
async function showFailures(
  pod: Pod,
  memory: PodMemory,
  around: PodSurroundings,
  signal: AbortSignal,
): Promise<void> {
  const runtime = await around.view.pod(pod.metadata.uid, signal);
  around.status.set(pod, await currentStatus(pod, runtime, 'syncing', memory, around));
}

/** Whether the pod asks for what cannot be given: it waits then, neither failed nor run in part. */
function refuseUnsupported(pod: Pod, memory: PodMemory, around: PodSurroundings): boolean {
  const fields = unsupportedFields(pod, around.features);
  if (fields.length === 0) {
    memory.toldUnsupported = undefined;
    return false;
  }
  const message = unsupportedText(fields);
  for (const { name } of allContainers(pod.spec)) {
    memory.failures.set(name, { reason: UNSUPPORTED, message });
  }
  if (memory.toldUnsupported !== message) {
    memory.toldUnsupported = message;
    around.events.tell(pod, { type: 'Warning', reason: UNSUPPORTED, message });
  }
  return true;
}

/** Ephemeral containers that ask for it wait alone: the pod runs already. Each set of fields is told of once. */
function refuseEphemeral(pod: Pod, memory: PodMemory, { events, features }: PodSurroundings): void {
  const problems = ephemeralProblems(pod, features);
  for (const [name, fields] of problems)
    memory.failures.set(name, { reason: UNSUPPORTED, message: unsupportedText(fields) });
  const all = [...problems.values()].flat();
  const message = all.length === 0 ? undefined : unsupportedText(all);
  if (message === memory.toldEphemeral) return;
  memory.toldEphemeral = message;
  if (message !== undefined) events.tell(pod, { type: 'Warning', reason: UNSUPPORTED, message });
}

function checkDeadline(pod: Pod, memory: PodMemory, around: PodSurroundings): void {
  const atMs = deadlineMs(pod, around.status.current(pod));
  if (atMs === undefined || around.clock.now() < atMs || memory.forced !== undefined) return;
  memory.forced = deadlineExceeded;
  around.events.tell(pod, { type: 'Normal', ...deadlineExceeded });
}

function hasNetwork(pod: Pod, { networkProblem, events }: PodSurroundings): boolean {
  const problem = pod.spec.hostNetwork ? undefined : networkProblem();
  if (problem === undefined) return true;
  const message = `network is not ready: ${problem}`;
  events.tell(pod, { type: 'Warning', reason: 'NetworkNotReady', message });
  return false;
}

/** Where the cgroup has gone while the pod ran, its containers are in none that is limited: they are begun anew. */
async function ensureCgroup(
  pod: Pod,
  runtime: RuntimePod | undefined,
  { isFirst }: PodMemory,
  around: PodSurroundings,
  signal: AbortSignal,
): Promise<void> {
  try {
    const hasGone = !isFirst && runtime !== undefined && !(await around.cgroups.exists(pod));
    if (hasGone) await killPod({ pod, runtime }, {}, around, signal);
    await around.cgroups.ensure(pod, !hasGone && isUp(runtime), signal);
  } catch (thrown) {
    signal.throwIfAborted();
    const message = `unable to ensure pod container exists: ${errorText(thrown)}`;
    around.events.tell(pod, { type: 'Warning', reason: 'FailedCreatePodContainer', message });
    throw new SwitchyardError('tool', message, { cause: thrown, retryable: true });
  }
}

async function makeDirs(pod: Pod, { files, events }: PodSurroundings): Promise<void> {
  try {
    await files.makePodDirs(pod);
  } catch (thrown) {
    const message = `error making pod data directories: ${errorText(thrown)}`;
    events.tell(pod, { type: 'Warning', reason: 'Failed', message });
    throw new SwitchyardError('tool', message, { cause: thrown, retryable: true });
  }
}

/** undefined: they could not be mounted, and an Event says so. */
async function mountedVolumes(
  pod: Pod,
  { volumes, log }: PodSurroundings,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, MountedVolume> | undefined> {
  try {
    return await volumes.setUp(pod, signal);
  } catch (thrown) {
    signal.throwIfAborted();
    log.debug({ pod: pod.metadata.name, error: errorText(thrown) }, 'volumes are not mounted');
    return undefined;
  }
}

function earliest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
