import type { InformerHandler } from '../informer/source.ts';
import type { ServiceCidrObject } from '../services/objects.ts';
import type { NodeState } from './node-state.ts';

/** Keeps what a node knows of ServiceCIDRs; `onChange`: rules may depend on it. */
export function serviceCidrHandler(
  state: Pick<NodeState, 'setServiceCidr' | 'removeServiceCidr'>,
  onChange: () => void,
): InformerHandler<ServiceCidrObject> {
  const changed = (object: ServiceCidrObject): void => {
    state.setServiceCidr(object);
    onChange();
  };
  return {
    added: changed,
    updated: (_previous, object) => {
      changed(object);
    },
    removed: (object) => {
      state.removeServiceCidr(object);
      onChange();
    },
  };
}
