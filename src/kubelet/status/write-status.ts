import { SwitchyardError } from '../../error.ts';
import type { ApiObject, ObjectAnswer, ObjectApi } from '../api/object-api.ts';
import type { PodStatus } from '../pod/pod-status.ts';
import type { Pod } from '../pod/pod.ts';
import { isStaticPod } from '../sources/sourced-pod.ts';
import type { KeptStatus } from './kept-statuses.ts';
import { isTerminal } from './phase.ts';
import { statusPatch } from './status-patch.ts';
import { toldStatus } from './transitions.ts';

/** Of pods. */
export type PodObjectApi = Pick<ObjectApi, 'get' | 'send'>;

/** Where one status goes. */
export interface StatusTarget {
  readonly api: PodObjectApi;
  /** Of the object: the pod's own, or its mirror's. undefined: there is none yet. */
  readonly uid: string | undefined;
  /** Whether a source still has the pod. */
  readonly isListed: (pod: Pod) => boolean;
}

/** The API server refused. */
export class RefusedError extends SwitchyardError {
  readonly status: number;

  constructor(status: number, reason: string) {
    super('source', reason, { retryable: true });
    this.status = status;
  }
}

/**
 * Brings one pod's status to the API, and deletes the object that is to go and of which nothing is left (Kubernetes: Pod Lifecycle,
 * Termination of Pods). Resolves when the API has it, or has no use for it; to whether the object was deleted.
 */
export async function writeStatus(
  entry: KeptStatus,
  target: StatusTarget,
  signal: AbortSignal,
): Promise<boolean> {
  const { pod, status, isTerminated } = entry;
  const { api, uid } = target;
  if (uid === undefined) {
    throw new SwitchyardError('source', 'its mirror pod is not there yet', { retryable: true });
  }
  const path = pathOf(pod);
  const found = await api.get(path, signal);
  if (isGone(found, entry, target)) return false;
  const object = objectOf(found);
  if (object.metadata.uid !== uid) return false;
  const held = (object['status'] ?? {}) as PodStatus;
  const patch = statusPatch(held, toldStatus(held, status, isTerminated));
  if (patch !== undefined) {
    const body = { metadata: { uid }, status: patch };
    const answer = await api.send('strategicMerge', `${path}/status`, body, signal);
    if (isGone(answer, entry, target)) return false;
    objectOf(answer);
  }
  const phase = (patch?.['phase'] ?? held.phase) as PodStatus['phase'];
  // it may have ended meanwhile: then its last status is not the one that was written
  const isOver = isTerminated && isTerminal(phase);
  if (!isOver || !mayBeDeleted(entry, object)) return false;
  await deleteObject(entry, target, { path, uid }, signal);
  return true;
}

/** A mirror goes when its pod's source has it no more, and is deleted elsewhere. */
function mayBeDeleted({ pod, isDeleted }: KeptStatus, { metadata }: ApiObject): boolean {
  return metadata.deletionTimestamp !== undefined && !isDeleted && !isStaticPod(pod);
}

/** The object goes only when nothing of the pod is left on this node. */
async function deleteObject(
  entry: KeptStatus,
  target: StatusTarget,
  { path, uid }: { readonly path: string; readonly uid: string },
  signal: AbortSignal,
): Promise<void> {
  const options = {
    apiVersion: 'v1',
    kind: 'DeleteOptions',
    gracePeriodSeconds: 0,
    preconditions: { uid },
  };
  const answer = await target.api.send('delete', path, options, signal);
  // another of its name, or none: this one is gone
  if (answer.status !== 409 && !isGone(answer, entry, target)) objectOf(answer);
}

/** The node authoriser lets a node ask for no pod that is not its own: of one that has gone it says 403, and not 404. */
function isGone(
  { status }: ObjectAnswer,
  { pod, isDeleted }: KeptStatus,
  { isListed }: StatusTarget,
): boolean {
  return status === 404 || (status === 403 && (isDeleted || !isListed(pod)));
}

function pathOf({ metadata }: Pod): string {
  return `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}`;
}

function objectOf({ status, object, reason }: ObjectAnswer): ApiObject {
  if (object !== undefined) return object;
  throw new RefusedError(status, reason === '' ? `answered ${status}` : reason);
}
