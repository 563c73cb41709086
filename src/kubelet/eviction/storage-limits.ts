import type { Container } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import { quantityOf, wholeUnits } from '../pod/quantity.ts';
import { podLimits } from '../pod/resources.ts';
import type { PodUsage } from '../ports/pod-usage.ts';
import { sumText } from './amount-text.ts';
import { allStorage, containerAmount, podAmount } from './pod-amounts.ts';

const resource = 'ephemeral-storage';

/** Which of its limits of storage a pod is above, in upstream's words; undefined: of what is known none (Kubernetes: Local ephemeral storage). */
export function storageProblem(pod: Pod, usage: PodUsage): string | undefined {
  return emptyDirProblem(pod, usage) ?? podProblem(pod, usage) ?? containerProblem(pod, usage);
}

/** Whether a pod has a limit that {@link storageProblem} looks at: others need not be measured. */
export function limitsStorage({ spec }: Pod): boolean {
  return (
    spec.volumes.some(({ emptyDir }) => emptyDir?.sizeLimit !== undefined) ||
    podLimits({ spec }).has(resource)
  );
}

/** One of nothing is none. */
function emptyDirProblem({ spec }: Pod, { volumes }: PodUsage): string | undefined {
  for (const { name, emptyDir } of spec.volumes) {
    const limit = emptyDir?.sizeLimit;
    const used = volumes.get(name)?.bytes;
    if (limit === undefined || used === undefined) continue;
    if (quantityOf(limit) <= 0n || !isAbove(used, limit)) continue;
    return `Usage of EmptyDir volume "${name}" exceeds the limit "${limit}". `;
  }
  return undefined;
}

function podProblem(pod: Pod, usage: PodUsage): string | undefined {
  const limit = podLimits(pod).get(resource);
  const used = podAmount(usage, resource, allStorage);
  if (limit === undefined || used === undefined || used <= Number(wholeUnits(limit)))
    return undefined;
  const { spec } = pod;
  const limits = all(pod).flatMap(({ resources }) => resources.limits?.[resource] ?? []);
  const text = spec.resources?.limits?.[resource] ?? sumText(limits);
  return `Pod ephemeral local storage usage exceeds the total limit of containers ${text}. `;
}

function containerProblem(pod: Pod, { containers }: PodUsage): string | undefined {
  for (const { name, resources } of all(pod)) {
    const limit = resources.limits?.[resource];
    const usage = containers.get(name);
    const used = usage && containerAmount(usage, resource, allStorage);
    if (limit === undefined || used === undefined || !isAbove(used, limit)) continue;
    return `Container ${name} exceeded its local ephemeral storage limit "${limit}". `;
  }
  return undefined;
}

function isAbove(bytes: number, limit: string): boolean {
  return bytes > Number(wholeUnits(quantityOf(limit)));
}

function all({ spec }: Pod): readonly Container[] {
  return [...spec.containers, ...spec.initContainers];
}
