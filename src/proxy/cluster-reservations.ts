import { systemCode } from '../error.ts';
import { lookup } from 'node:dns/promises';
import type { Kind, KubeObject } from '../informer/kind.ts';
import type { Source } from '../informer/source.ts';
import { aborted } from '../informer/wakeup.ts';
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

/** The addresses of a host; rejects as `getaddrinfo` does. */
type Resolve = (host: string) => Promise<readonly string[]>;

const resolveBySystem: Resolve = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

export type ClusterReservations = ReservedAddresses | ManifestReservations;

/** What a cluster keeps from Services; of manifests, what the Nodes among them have. */
export function clusterReservations(
  sources: ObjectSources,
  options: Omit<ReservedAddressesOptions, 'nodes' | 'countNodes' | 'apiServers'>,
  resolve = resolveBySystem,
): ClusterReservations {
  const { server } = sources;
  const nodes = sources.source(anyNodeKind);
  if (server === undefined) return new ManifestReservations({ ...options, nodes });
  return new ReservedAddresses({
    ...options,
    nodes,
    countNodes: async (signal) => sources.count?.(anyNodeKind, signal),
    apiServers: async (signal) => {
      const slices = await listOnce(sources, apiServerSlices, signal);
      const own = slices.filter(({ meta }) => meta.namespace === 'default');
      const listed = own.flatMap(({ endpoints }) => endpoints.flatMap((each) => each.addresses));
      const looking = hostAddresses(new URL(server).hostname, resolve);
      const addresses = [...listed, ...(await unlessAborted(looking, signal))];
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

/**
 * The addresses behind the host of a URL. None where nobody here knows the name: a proxy finds it. That it cannot be looked
 * up at the moment is another matter: then nobody knows which address must not be taken.
 */
async function hostAddresses(host: string, resolve: Resolve): Promise<readonly string[]> {
  const literal: Address | undefined = parseAddress(host.replace(/^\[(.*)\]$/, '$1'));
  if (literal !== undefined) return [literal];
  try {
    return await resolve(host);
  } catch (error) {
    if (systemCode(error) === 'ENOTFOUND') return [];
    throw error;
  }
}

/** The system's resolver cannot be interrupted, and may take half a minute: the next agent must not wait for it. */
async function unlessAborted<R>(work: Promise<R>, signal: AbortSignal): Promise<R> {
  const over = new AbortController();
  try {
    await Promise.race([work, aborted(AbortSignal.any([signal, over.signal]))]);
    signal.throwIfAborted();
    return await work;
  } finally {
    over.abort();
  }
}
