import { quantityOf, wholeUnits } from '../pod/quantity.ts';
import { bytesText, piecesText } from './amount-text.ts';
import { meaningOf } from '../node/observations.ts';
import { containerAmount } from './pod-amounts.ts';
import type { StorageParts } from './pod-amounts.ts';
import type { MetThreshold } from '../node/pressure-watch.ts';
import type { Candidate } from './ranking.ts';

/** Why a pod is evicted, in upstream's words: what is short, and which of its containers are above what they asked for. */
export function evictionMessage(
  met: MetThreshold,
  { pod, usage }: Candidate,
  parts: StorageParts,
): string {
  const { resource } = meaningOf[met.threshold.signal];
  const isPercent = met.threshold.below.endsWith('%');
  const isPieces = resource === 'inodes' || resource === 'pids';
  const threshold = isPercent ? bytesText(met.below) : met.threshold.below;
  const available = isPieces ? piecesText(met.available) : bytesText(met.available);
  let message = `The node was low on resource: ${resource}. Threshold quantity: ${threshold}, available: ${available}. `;
  for (const { name, resources } of [...pod.spec.containers, ...pod.spec.initContainers]) {
    const container = usage.containers.get(name);
    const used = container && containerAmount(container, resource, parts);
    const request = resources.requests?.[resource];
    if (used === undefined || used <= Number(wholeUnits(quantityOf(request)))) continue;
    message += `Container ${name} was using ${bytesText(used)}, request is ${request ?? '0'}, has larger consumption of ${resource}. `;
  }
  return message;
}
