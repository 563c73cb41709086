import { familyLabel, familyOf, parseAddress } from '../ip/address.ts';
import type { Family } from '../ip/address.ts';
import { endpointText } from './choice-reasons.ts';
import type { EndpointSliceObject, SliceObjectEndpoint } from './objects.ts';
import type { Endpoint } from './service-port.ts';

/** Endpoints by `portName/PROTOCOL` of one Service, each list sorted bytewise by `ip:port`. */
export type EndpointsByPort = ReadonlyMap<string, readonly Endpoint[]>;

/** The key of {@link EndpointsByPort}: a slice port serves the service port of the same name and protocol. */
export function portKey(portName: string, protocol: string): string {
  return `${portName}/${protocol}`;
}

/**
 * Merges the slices of one Service. Twins (the same `ip:port` in several places) are used once: one
 * that is not terminating beats one that is, else the one of the first slice by name counts, so that
 * the order of arrival never matters.
 */
export function mergeSlices(
  slices: Iterable<EndpointSliceObject>,
  family: Family,
  nodeName: string,
): EndpointsByPort {
  const ports = new Map<string, Map<string, Endpoint>>();
  const ordered = [...slices].toSorted((a, b) => (a.meta.name < b.meta.name ? -1 : 1));
  for (const slice of ordered) {
    if (slice.addressType !== familyLabel(family)) continue;
    const endpoints = slice.endpoints
      .flatMap((raw) => endpointOf(raw, slice.meta.name, nodeName))
      .filter((endpoint) => familyOf(endpoint.address) === family);
    for (const port of slice.ports) {
      // Port 0 counts as no port, like a missing one.
      if (port.name === undefined || !port.port || port.protocol === undefined) continue;
      const key = portKey(port.name, port.protocol);
      const merged = ports.get(key) ?? new Map<string, Endpoint>();
      ports.set(key, merged);
      for (const endpoint of endpoints) add(merged, { ...endpoint, port: port.port });
    }
  }
  return new Map([...ports].map(([key, merged]) => [key, sorted(merged)]));
}

function add(merged: Map<string, Endpoint>, endpoint: Endpoint): void {
  const text = endpointText(endpoint);
  const twin = merged.get(text);
  if (twin === undefined || (twin.terminating && !endpoint.terminating)) merged.set(text, endpoint);
}

function sorted(merged: ReadonlyMap<string, Endpoint>): readonly Endpoint[] {
  return [...merged].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => endpoint);
}

/** Conditions that are not set mean ready and serving; only the first address of an endpoint counts. */
function endpointOf(
  raw: SliceObjectEndpoint,
  slice: string,
  nodeName: string,
): readonly Endpoint[] {
  const address = parseAddress(raw.addresses[0] ?? '');
  if (address === undefined) return [];
  return [
    {
      address,
      port: 0,
      ready: raw.ready ?? true,
      serving: raw.serving ?? true,
      terminating: raw.terminating ?? false,
      local: nodeName !== '' && raw.nodeName === nodeName,
      nodeName: raw.nodeName,
      zoneHints: raw.zoneHints,
      nodeHints: raw.nodeHints,
      slice,
    },
  ];
}
