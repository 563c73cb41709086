import type { InformerHandler } from '../informer/source.ts';
import type { EndpointSliceObject } from '../services/objects.ts';

/** Told of what EndpointSlices let guess about Nodes and API servers. */
export interface SliceHints {
  /** The API servers are at other addresses than before. */
  readonly apiServersMoved: () => void;
  /** Endpoints have come at these addresses; where a pod is in the network of its Node, that is an address of the Node. */
  readonly endpointsCame: (addresses: readonly string[]) => void;
}

type Slice = EndpointSliceObject | undefined;

/** Finds hints in EndpointSlices, which the agent watches anyway. */
export function sliceHints(hints: SliceHints): InformerHandler<EndpointSliceObject> {
  const changed = (before: Slice, after: Slice): void => {
    const [old, now] = [addressesOf(before), addressesOf(after)];
    if (isOfApiServer(after ?? before)) {
      if (old.join() !== now.join()) hints.apiServersMoved();
      return;
    }
    const known = new Set(old);
    const come = now.filter((each) => !known.has(each));
    if (come.length > 0) hints.endpointsCame(come);
  };
  return {
    added: (slice) => {
      changed(undefined, slice);
    },
    updated: changed,
    removed: (slice) => {
      changed(slice, undefined);
    },
  };
}

/** API servers name their own addresses in slices of `default/kubernetes`. */
function isOfApiServer(slice: Slice): boolean {
  return slice?.meta.namespace === 'default' && slice.serviceName === 'kubernetes';
}

function addressesOf(slice: Slice): readonly string[] {
  return slice?.endpoints.flatMap(({ addresses }) => addresses) ?? [];
}
