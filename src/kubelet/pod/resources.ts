import { isSidecar } from './container.ts';
import type { Container, ResourceList } from './container.ts';
import type { Pod } from './pod.ts';
import { quantityOf } from './quantity.ts';
import type { Quantity } from './quantity.ts';

/** Amounts by resource. */
export type Amounts = ReadonlyMap<string, Quantity>;

type Which = 'requests' | 'limits';

/**
 * What a pod asks for at the most at any moment of its life: all containers and sidecars together, or an init container with the sidecars
 * that run before it; plus overhead (KEP-753). What the pod itself says counts instead, per resource (KEP-2837).
 */
export function podRequests(pod: Pick<Pod, 'spec'>): Amounts {
  return podAmounts(pod, 'requests');
}

/** The same of limits. A resource that one container does not limit is limited by the others' sum alone. */
export function podLimits(pod: Pick<Pod, 'spec'>): Amounts {
  return podAmounts(pod, 'limits');
}

/** Amounts from a list of quantities. */
export function amountsOf(list: ResourceList | undefined): Amounts {
  return new Map(Object.entries(list ?? {}).map(([name, text]) => [name, quantityOf(text)]));
}

function podAmounts({ spec }: Pick<Pod, 'spec'>, which: Which): Amounts {
  const sidecars = new Map<string, Quantity>();
  const peak = new Map<string, Quantity>();
  for (const container of spec.initContainers) {
    if (isSidecar(container)) {
      add(sidecars, own(container, which));
      raise(peak, sidecars);
    } else {
      const together = new Map(sidecars);
      add(together, own(container, which));
      raise(peak, together);
    }
  }
  const running = new Map(sidecars);
  for (const container of spec.containers) add(running, own(container, which));
  raise(running, peak);
  for (const [name, amount] of amountsOf(spec.resources?.[which])) running.set(name, amount);
  if (which === 'requests') add(running, amountsOf(spec.overhead));
  else addKnown(running, amountsOf(spec.overhead));
  return running;
}

function own({ resources }: Container, which: Which): Amounts {
  return amountsOf(resources[which]);
}

function add(sum: Map<string, Quantity>, more: Amounts): void {
  for (const [name, amount] of more) sum.set(name, (sum.get(name) ?? 0n) + amount);
}

/** Overhead makes no limit where there is none. */
function addKnown(sum: Map<string, Quantity>, more: Amounts): void {
  for (const [name, amount] of more) {
    const before = sum.get(name);
    if (before !== undefined) sum.set(name, before + amount);
  }
}

function raise(peak: Map<string, Quantity>, candidate: Amounts): void {
  for (const [name, amount] of candidate) {
    if (amount > (peak.get(name) ?? -1n)) peak.set(name, amount);
  }
}
