import { parseAddress } from '../../ip/address.ts';
import type { Address } from '../../ip/address.ts';
import type { ListenerKey } from '../../relay/relay.ts';
import type { ServiceName } from '../../services/service-port.ts';

/** What a run leaves to the next one, so that clients find things where they were. */
export interface KeptPlaces {
  readonly ports: ReadonlyMap<ListenerKey, number>;
  /** The loopback addresses of Services (portals are none). */
  readonly addresses: ReadonlyMap<ServiceName, Address>;
}

const version = 1;

/** The text of the state file: JSON, sorted, so that the same places give the same bytes. */
export function keptPlacesText({ ports, addresses }: KeptPlaces): string {
  const document = { version, ports: sorted(ports), addresses: sorted(addresses) };
  return `${JSON.stringify(document, undefined, 1)}\n`;
}

/** Reads the text of the state file; why it cannot be used, where any part of it is not as it was written. */
export function parseKeptPlaces(
  text: string,
): { readonly kept: KeptPlaces } | { readonly problem: string } {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return { problem: 'it is no JSON' };
  }
  if (!isObject(document)) return { problem: 'expected an object' };
  const { version: found, ports, addresses, ...others } = document;
  if (found !== version) return { problem: `expected version ${version}` };
  const [other] = Object.keys(others);
  if (other !== undefined) return { problem: `unknown field ${JSON.stringify(other)}` };
  if (!isObject(ports) || !isObject(addresses))
    return { problem: 'expected the objects ports and addresses' };
  const badPort = Object.entries(ports).find(([, port]) => !isPort(port));
  if (badPort) return { problem: `ports: ${JSON.stringify(badPort)} is no port` };
  const badAddress = Object.entries(addresses).find(([, address]) => !isAddress(address));
  if (badAddress) return { problem: `addresses: ${JSON.stringify(badAddress)} is no address` };
  return {
    kept: {
      ports: new Map(Object.entries(ports) as [ListenerKey, number][]),
      addresses: new Map(Object.entries(addresses) as [ServiceName, Address][]),
    },
  };
}

function sorted<T>(map: ReadonlyMap<string, T>): Readonly<Record<string, T>> {
  return Object.fromEntries([...map].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isPort(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65_535;
}

/** In the one spelling. */
function isAddress(value: unknown): boolean {
  return typeof value === 'string' && parseAddress(value) === value;
}
