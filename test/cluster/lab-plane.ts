import { lab4 } from '../support/node-lab.ts';
import type { NodeLab } from '../support/node-lab.ts';
import { ControlPlane } from './control-plane.ts';
import type { ControlPlaneOptions } from './control-plane.ts';

/** Where cluster IPs come from in a cluster of both families. */
export const bothFamilies = ['10.96.0.0/12', 'fd00:10:96::/108'] as const;

/** A control plane that the lab's node reaches where the lab's client is; not started, so that its end can be seen to first. */
export function planeFor(
  lab: NodeLab,
  more: Omit<ControlPlaneOptions, 'namespace' | 'address'> = {},
): ControlPlane {
  return new ControlPlane({ namespace: lab.namespace('client'), address: lab4.client, ...more });
}
