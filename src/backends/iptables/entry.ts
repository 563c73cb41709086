import type { DispatchKey } from './dispatch-keys.ts';
import type { Rule } from './state.ts';

/** The dispatch trees that frontends put their rules into. */
export type TreeName =
  | 'services' // nat, by destination: what leads to a pool
  | 'nodePorts' // nat, by port: what leads to a pool
  | 'clusterVerdicts' // filter KUBE-SERVICES
  | 'externalVerdicts' // filter KUBE-EXTERNAL-SERVICES
  | 'nodePortVerdicts' // filter, below KUBE-EXTERNAL-SERVICES
  | 'firewall'; // filter KUBE-PROXY-FIREWALL

/** Rules of one frontend in one tree. */
export interface Entry {
  readonly tree: TreeName;
  readonly key: DispatchKey;
  readonly rules: readonly Rule[];
}
