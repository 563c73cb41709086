import { addressBytes } from '../ip/address.ts';
import type { Frontend } from './rule-graph.ts';

/** Order of code units: the same everywhere, whatever the locale. */
export function compareBytes(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

const kinds = ['clusterIP', 'loadBalancerIP', 'externalIP', 'nodePort'];

/** The order in which frontends are printed: by service port, kind, address (as a number), port. */
export function compareFrontends(a: Frontend, b: Frontend): number {
  return (
    compareBytes(a.origin.service, b.origin.service) ||
    compareBytes(a.origin.servicePort, b.origin.servicePort) ||
    kinds.indexOf(a.kind) - kinds.indexOf(b.kind) ||
    compareAddresses(a, b) ||
    a.port - b.port
  );
}

function compareAddresses(a: Frontend, b: Frontend): number {
  if (a.address === undefined || b.address === undefined) return 0;
  return Buffer.compare(addressBytes(a.address), addressBytes(b.address));
}
