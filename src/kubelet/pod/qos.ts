import type { Resources } from './container.ts';
import type { QosClass } from './pod-status.ts';
import type { Pod } from './pod.ts';
import { quantityOf } from './quantity.ts';

const counted = ['cpu', 'memory'] as const;

/**
 * The quality-of-service class. Guaranteed: each container limits CPU and memory and asks for just that; BestEffort: none asks for or
 * limits either. Where the pod itself has resources, these alone count (KEP-2837).
 */
export function qosClassOf({ spec }: Pick<Pod, 'spec'>): QosClass {
  const all: readonly Resources[] =
    spec.resources === undefined
      ? [...spec.initContainers, ...spec.containers].map(({ resources }) => resources)
      : [spec.resources];
  if (all.every(asksNothing)) return 'BestEffort';
  return all.every(isGuaranteed) ? 'Guaranteed' : 'Burstable';
}

function asksNothing({ requests, limits }: Resources): boolean {
  return counted.every(
    (name) => quantityOf(requests?.[name]) === 0n && quantityOf(limits?.[name]) === 0n,
  );
}

function isGuaranteed({ requests, limits }: Resources): boolean {
  return counted.every((name) => {
    const limit = quantityOf(limits?.[name]);
    return limit > 0n && quantityOf(requests?.[name] ?? limits?.[name]) === limit;
  });
}
