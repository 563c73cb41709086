// The objects of `npm run bench:upstream`: what is asked has real pods, and a scale has what it says.
import { describe, expect, it } from 'vitest';
import {
  askedServices,
  changeableService,
  changedSlice,
  slicesOf,
  storedObjects,
} from '../../bench/upstream/objects.ts';

interface Stored {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly endpoints?: readonly { readonly addresses: readonly string[] }[];
}

function kinds(services: number, endpoints: number): Readonly<Record<string, readonly Stored[]>> {
  const byKind: Record<string, Stored[]> = {};
  for (const { key, value } of storedObjects({ services, endpoints })) {
    (byKind[key.split('/')[2] ?? ''] ??= []).push(value as Stored);
  }
  return byKind;
}

const addresses = (slice: Stored | undefined): readonly string[] =>
  (slice?.endpoints ?? []).flatMap((endpoint) => endpoint.addresses);

describe('stored objects', () => {
  it('are a Service, an IPAddress and its slices for each service, all of them distinct', () => {
    const { services = [], ipaddresses = [], endpointslices = [] } = kinds(120, 3);
    expect([services.length, ipaddresses.length, endpointslices.length]).toEqual([120, 120, 120]);
    const all = [...services, ...ipaddresses, ...endpointslices];
    expect(new Set(all.map(({ metadata }) => metadata.uid)).size).toBe(360);
    expect(new Set(ipaddresses.map(({ metadata }) => metadata.name)).size).toBe(120);
  });
  it('have no endpoint twice, but for those of services that are asked', () => {
    const { endpointslices = [] } = kinds(120, 3);
    const far = endpointslices.flatMap(addresses).filter((each) => each.startsWith('10.128.'));
    expect(far).toHaveLength((120 - 6) * 3);
    expect(new Set(far).size).toBe(far.length);
  });
  it('have full slices where a service has many endpoints', () => {
    const { endpointslices = [] } = kinds(1, 250);
    expect(endpointslices.map((each) => addresses(each).length)).toEqual([100, 100, 50]);
    expect(slicesOf({ services: 1, endpoints: 250 })).toBe(3);
  });
  it('give real pods to those that are asked, and one to that which changes', () => {
    const scale = { services: 50, endpoints: 3 };
    const { endpointslices = [] } = kinds(scale.services, scale.endpoints);
    const asked = askedServices(scale).map(({ index }) => index);
    expect(asked).toEqual([0, 12, 24, 36, 49]);
    for (const index of asked) expect(addresses(endpointslices[index])).toHaveLength(3);
    expect(addresses(endpointslices[changeableService(scale).index])).toHaveLength(1);
  });
  it('change by one endpoint, each time another', () => {
    const scale = { services: 50, endpoints: 3 };
    const [first, second] = [1, 2].map((n) => addresses(changedSlice(scale, 5, n) as never));
    expect(first?.slice(1)).toEqual(second?.slice(1));
    expect(first?.[0]).not.toBe(second?.[0]);
  });
});
