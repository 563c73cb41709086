import type { NodeObject } from '../../../src/services/objects.ts';

/** The Node `node-a` without an address, or anything else. */
export const bareNode: NodeObject = {
  meta: { namespace: '', name: 'node-a', uid: 'u', createdAtMs: 0 },
  addresses: [],
  podCIDRs: [],
  zone: undefined,
  taintKeys: [],
  deleting: false,
};
