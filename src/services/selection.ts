import { isRaw } from './field-reader.ts';

const excludedBy = ['service.kubernetes.io/headless', 'service.kubernetes.io/service-proxy-name'];

/** The label selector of everything the proxy watches but Nodes: both keys must be absent. */
export const proxyLabelSelector = excludedBy.map((key) => `!${key}`).join(',');

/** The same on a raw object; the labels' values do not matter, even empty ones and those of no use. */
export function selectedByLabels(raw: unknown): boolean {
  return excludingLabel(raw) === undefined;
}

/** The label that hides a raw object from this proxy; undefined where none does. */
export function excludingLabel(raw: unknown): string | undefined {
  const metadata = isRaw(raw) ? raw['metadata'] : undefined;
  const labels = isRaw(metadata) ? metadata['labels'] : undefined;
  return isRaw(labels) ? excludedBy.find((key) => Object.hasOwn(labels, key)) : undefined;
}
