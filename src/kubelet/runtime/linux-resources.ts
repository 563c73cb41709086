import type { MessageInitShape } from '@bufbuild/protobuf';
import type { LinuxContainerResourcesSchema } from '../cri/gen/api_pb.ts';
import { isSidecar } from '../pod/container.ts';
import type { Container, Resources } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import { qosClassOf } from '../pod/qos.ts';
import { milliUnits, quantityOf, wholeUnits } from '../pod/quantity.ts';
import { podLimits, podRequests } from '../pod/resources.ts';
import type { RuntimeSettings } from './settings.ts';

type ResourcesMessage = MessageInitShape<typeof LinuxContainerResourcesSchema>;

/** The kernel's least and most CPU shares. */
const leastShares = 2n;
const mostShares = 262_144n;
const leastQuotaUs = 1000n;

/** CPU shares of so many thousandths of a core. */
export function cpuShares(milli: bigint): bigint {
  const shares = (milli * 1024n) / 1000n;
  if (shares < leastShares) return leastShares;
  return shares > mostShares ? mostShares : shares;
}

/** How many microseconds of a period may be used; 0: all. */
export function cpuQuotaUs(milli: bigint, periodUs: bigint): bigint {
  if (milli === 0n) return 0n;
  const quota = (milli * periodUs) / 1000n;
  return quota < leastQuotaUs ? leastQuotaUs : quota;
}

/** A container's limits (Kubernetes: Resource Management for Pods and Containers). */
export function containerResources(
  pod: Pick<Pod, 'spec' | 'metadata'>,
  container: Container,
  settings: RuntimeSettings,
): ResourcesMessage {
  const memory = wholeUnits(quantityOf(container.resources.limits?.['memory']));
  const unified: Record<string, string> = {};
  if (settings.cgroup.version === 2) {
    if (!settings.singleProcessOOMKill) unified['memory.oom.group'] = '1';
    if (settings.cgroup.limitsSwap) unified['memory.swap.max'] = '0';
  }
  return {
    ...cpuOf(
      milliUnits(quantityOf(requestOf(container.resources, 'cpu'))),
      milliUnits(quantityOf(container.resources.limits?.['cpu'])),
      settings,
    ),
    memoryLimitInBytes: memory,
    ...(settings.cgroup.limitsSwap && { memorySwapLimitInBytes: memory }),
    oomScoreAdj: BigInt(oomScore(pod, container, settings.memoryBytes)),
    unified,
  };
}

/** What all of a pod may have: for its cgroup, and for runtimes that make a machine of it. */
export function podResources(
  pod: Pick<Pod, 'spec'>,
  settings: Pick<RuntimeSettings, 'cpuCFSQuota' | 'cpuCFSQuotaPeriodUs'>,
): ResourcesMessage {
  const limited = isLimited(pod);
  const limits = podLimits(pod);
  const cpuLimit = limited('cpu') ? milliUnits(limits.get('cpu') ?? 0n) : 0n;
  return {
    ...cpuOf(milliUnits(podRequests(pod).get('cpu') ?? 0n), cpuLimit, settings),
    memoryLimitInBytes: limited('memory') ? wholeUnits(limits.get('memory') ?? 0n) : 0n,
  };
}

/** Overhead of a runtime class: what the sandbox itself is allowed. */
export function overheadResources(
  { spec }: Pick<Pod, 'spec'>,
  settings: Pick<RuntimeSettings, 'cpuCFSQuota' | 'cpuCFSQuotaPeriodUs'>,
): ResourcesMessage | undefined {
  if (spec.overhead === undefined) return undefined;
  const milli = milliUnits(quantityOf(spec.overhead['cpu']));
  return {
    ...cpuOf(milli, milli, settings),
    memoryLimitInBytes: wholeUnits(quantityOf(spec.overhead['memory'])),
  };
}

/** A pod is limited as a whole only where each of its containers is, or where the pod itself says so. */
function isLimited({ spec }: Pick<Pod, 'spec'>): (resource: string) => boolean {
  return (resource) =>
    spec.resources?.limits?.[resource] !== undefined ||
    [...spec.initContainers, ...spec.containers].every(
      ({ resources }) => resources.limits?.[resource] !== undefined,
    );
}

function cpuOf(
  requestMilli: bigint,
  limitMilli: bigint,
  settings: Pick<RuntimeSettings, 'cpuCFSQuota' | 'cpuCFSQuotaPeriodUs'>,
): ResourcesMessage {
  const period = settings.cpuCFSQuotaPeriodUs;
  return {
    cpuShares: cpuShares(requestMilli),
    cpuPeriod: period,
    cpuQuota: settings.cpuCFSQuota ? cpuQuotaUs(limitMilli, period) : 0n,
  };
}

function requestOf({ requests, limits }: Resources, name: string): string | undefined {
  return requests?.[name] ?? limits?.[name];
}

const guaranteedScore = -997;
const bestEffortScore = 1000;

/** Who is killed first where memory runs out: the kernel takes the highest score. A sidecar never goes before those it serves. */
export function oomScore(
  pod: Pick<Pod, 'spec' | 'metadata'>,
  container: Container,
  memoryBytes: bigint,
): number {
  const own = ownScore(pod, container, memoryBytes);
  if (!isSidecar(container)) return own;
  const others = pod.spec.containers.map((one) => ownScore(pod, one, memoryBytes));
  return Math.min(own, ...others);
}

/** Priorities from here on are the system's. */
const criticalPriority = 2_000_000_000;

function ownScore(
  pod: Pick<Pod, 'spec' | 'metadata'>,
  { resources }: Container,
  memoryBytes: bigint,
): number {
  const qos = qosClassOf(pod);
  if (isNodeCritical(pod) || qos === 'Guaranteed') return guaranteedScore;
  if (qos === 'BestEffort') return bestEffortScore;
  const request = wholeUnits(quantityOf(requestOf(resources, 'memory')));
  const score = 1000 - Number((1000n * request) / (memoryBytes > 0n ? memoryBytes : 1n));
  return Math.min(999, Math.max(3, score));
}

function isNodeCritical({ spec, metadata }: Pick<Pod, 'spec' | 'metadata'>): boolean {
  if (spec.priorityClassName !== 'system-node-critical') return false;
  const source = metadata.annotations['kubernetes.io/config.source'];
  return (source !== undefined && source !== 'api') || (spec.priority ?? 0) >= criticalPriority;
}
