import type { Container, ResourceSelector } from '../pod/container.ts';
import { inUnitsOf, milliUnits, quantityOf, wholeUnits } from '../pod/quantity.ts';
import type { Quantity } from '../pod/quantity.ts';

/** How much of a resource (`cpu`, `memory`, `ephemeral-storage`) the node can give to pods; undefined: it says nothing of it. */
export type Allocatable = (resource: string) => Quantity | undefined;

const fieldForm =
  /^(?<kind>limits|requests)\.(?<resource>cpu|memory|ephemeral-storage|hugepages-\S+)$/;

/**
 * What a `resourceFieldRef` means: in units of its divisor, rounded up; without a limit it is what the node can give
 * (`ResourceFieldSelector` of the API). undefined: it cannot refer to this.
 */
export function resourceField(
  { resources }: Pick<Container, 'resources'>,
  { resource: field, divisor: given = '1' }: ResourceSelector,
  allocatable: Allocatable,
): string | undefined {
  const { kind, resource } = fieldForm.exec(field)?.groups ?? {};
  if (resource === undefined) return undefined;
  const isLimit = kind === 'limits';
  const own = (isLimit ? resources.limits : resources.requests)?.[resource];
  const unset = isLimit ? allocatable(resource) : undefined;
  const amount = own === undefined ? unset : quantityOf(own);
  // CPU is counted in thousandths, all else in whole units, before it is divided
  const count = resource === 'cpu' ? milliUnits : wholeUnits;
  return String(inUnitsOf(count(amount ?? 0n), count(divisorOf(given))));
}

/** `0` is how a divisor looks that nobody gave. */
function divisorOf(text: string): Quantity {
  const divisor = quantityOf(text);
  return divisor === 0n ? quantityOf('1') : divisor;
}
