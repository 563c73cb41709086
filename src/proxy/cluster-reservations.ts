import { lookup } from 'node:dns/promises';
import type { Kind, KubeObject } from '../informer/kind.ts';
import type { Source } from '../informer/source.ts';
import { parseAddress } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import { endpointSliceKind } from '../services/endpoint-slice-kind.ts';
import { anyNodeKind } from '../services/node-kind.ts';
import { ManifestReservations } from './manifest-reservations.ts';
import { ReservedAddresses } from './reserved-addresses.ts';
import type { ReservedAddressesOptions } from './reserved-addresses.ts';
import type { ObjectSources } from './sources.ts';

/** The API servers' own addresses stand in the slices of this Service. */
const apiServerSlices = {
  ...endpointSliceKind,
  labelSelector: 'kubernetes.io/service-name=kubernetes',
};

/** What a cluster keeps from Services; of manifests, what the Nodes among them have. */
export function clusterReservations(
  sources: ObjectSources,
  options: Omit<ReservedAddressesOptions, 'listNodes' | 'apiServers'>,
): ReservedAddresses | ManifestReservations {
  const { server } = sources;
  if (server === undefined)
    return new ManifestReservations({ ...options, nodes: sources.source(anyNodeKind) });
  return new ReservedAddresses({
    ...options,
    listNodes: async (signal) => listOnce(sources, anyNodeKind, signal),
    apiServers: async (signal) => {
      const slices = await listOnce(sources, apiServerSlices, signal);
      const own = slices.filter(({ meta }) => meta.namespace === 'default');
      const listed = own.flatMap(({ endpoints }) => endpoints.flatMap((each) => each.addresses));
      const addresses = [...listed, ...(await hostAddresses(new URL(server).hostname))];
      return addresses.map(parseAddress).filter((each) => each !== undefined);
    },
  });
}

/** The complete list of a kind, without a watch after it. */
async function listOnce<T extends KubeObject>(
  sources: ObjectSources,
  kind: Kind<T>,
  signal: AbortSignal,
): Promise<readonly T[]> {
  const source: Source<T> = sources.source(kind);
  const enough = new AbortController();
  let list: readonly T[] = [];
  const sink = {
    replace: (objects: readonly T[]): void => {
      list = objects;
      enough.abort();
    },
    upsert: (): void => undefined,
    remove: (): void => undefined,
  };
  await source.run(sink, AbortSignal.any([signal, enough.signal]));
  signal.throwIfAborted();
  return list;
}

/** The addresses behind the host of a URL; none where the name cannot be found now. */
async function hostAddresses(host: string): Promise<readonly string[]> {
  const literal: Address | undefined = parseAddress(host.replace(/^\[(.*)\]$/, '$1'));
  if (literal !== undefined) return [literal];
  try {
    return (await lookup(host, { all: true })).map(({ address }) => address);
  } catch {
    return [];
  }
}
