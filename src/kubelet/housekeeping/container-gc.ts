import type { RuntimeContainer, RuntimePod, RuntimeSandbox } from '../runtime/runtime-pod.ts';

/** How many dead containers are kept, and how long they have to be dead (Kubernetes: Garbage Collection). */
export interface GarbageLimits {
  /** `minimum-container-ttl-duration`. */
  readonly minAgeMs: number;
  /** `maximum-dead-containers-per-container`: the last states and previous logs that can be looked at. */
  readonly perContainer: number;
  /** `maximum-dead-containers`; negative: as many as there are. */
  readonly total: number;
}

export const usualLimits: GarbageLimits = { minAgeMs: 0, perContainer: 1, total: -1 };

/** What of the runtime's records is of no more use. */
export interface Garbage {
  readonly containers: readonly RuntimeContainer[];
  readonly sandboxes: readonly RuntimeSandbox[];
}

/** One container's dead instances, newest first. */
interface Unit {
  readonly dead: readonly RuntimeContainer[];
}

/**
 * Chooses among pods that are ours. Of a pod that goes (`isGone`) all dead records go; of another the newest dead instances of each
 * container stay, and its newest sandbox. Sandboxes that still have containers wait for the next time.
 */
export function chooseGarbage(
  pods: Iterable<RuntimePod>,
  isGone: (uid: string) => boolean,
  nowMs: number,
  limits: GarbageLimits = usualLimits,
): Garbage {
  const all = [...pods];
  const newestMoment = BigInt(Math.trunc(nowMs - limits.minAgeMs)) * 1_000_000n;
  const isOld = ({ createdAt }: RuntimeContainer): boolean => createdAt <= newestMoment;
  const gone = all.filter(({ uid }) => isGone(uid));
  const others = all.filter(({ uid }) => !isGone(uid));
  const units = others.flatMap((pod) => unitsOf(pod, isOld));
  const containers = [
    ...gone.flatMap((pod) => pod.containers.filter((each) => each.state !== 'running')),
    ...units.flatMap(({ dead }) => dead.slice(limits.perContainer)),
    ...overTotal(units, limits),
  ];
  const removed = new Set(containers.map(({ id }) => id));
  const sandboxes = all.flatMap((pod) => emptySandboxes(pod, removed, isGone(pod.uid)));
  return { containers, sandboxes };
}

function unitsOf(pod: RuntimePod, isOld: (each: RuntimeContainer) => boolean): Unit[] {
  const byName = Map.groupBy(pod.containers, ({ name }) => name);
  return [...byName.values()].map((instances) => ({
    dead: instances.filter((each, index) => isDead(each, index) && isOld(each)),
  }));
}

/** One that was only just made is about to be started; one that has a successor never will be. */
function isDead({ state }: RuntimeContainer, index: number): boolean {
  return state === 'exited' || state === 'unknown' || (state === 'created' && index > 0);
}

/** Above the limit for the node the oldest go, of what the limit a container leaves. */
function overTotal(
  units: readonly Unit[],
  { total, perContainer }: GarbageLimits,
): RuntimeContainer[] {
  if (total < 0) return [];
  const left = units.flatMap(({ dead }) => dead.slice(0, perContainer));
  const oldestFirst = left.toSorted((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
  return oldestFirst.slice(0, Math.max(0, left.length - total));
}

function emptySandboxes(
  { sandboxes, containers }: RuntimePod,
  removed: ReadonlySet<string>,
  isGone: boolean,
): RuntimeSandbox[] {
  const left = containers.filter(({ id }) => !removed.has(id));
  const inUse = new Set(left.map(({ sandboxId }) => sandboxId));
  const candidates = isGone ? sandboxes : sandboxes.slice(1);
  return candidates.filter(({ id, state }) => state === 'notReady' && !inUse.has(id));
}
