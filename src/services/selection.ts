import { FieldReader, isRaw } from './field-reader.ts';
import { labelOf } from './object-meta.ts';

const excludedBy = ['service.kubernetes.io/headless', 'service.kubernetes.io/service-proxy-name'];

/** The label selector of everything the proxy watches but Nodes: both keys must be absent. */
export const proxyLabelSelector = excludedBy.map((key) => `!${key}`).join(',');

/** The same on a raw object; the labels' values do not matter, even empty ones. */
export function selectedByLabels(raw: unknown): boolean {
  if (!isRaw(raw)) return true;
  const reader = new FieldReader();
  return excludedBy.every((key) => labelOf(raw, reader, key) === undefined);
}
