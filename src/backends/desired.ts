import type { Cidr } from '../ip/cidr.ts';
import type { IptablesState } from './iptables/state.ts';
import type { IpvsState } from './ipvs/state.ts';

/** What a mode wants the kernel to have for one family; pure data that nobody changes. */
export interface DesiredState {
  /** Whose tables: those of the other tools are not looked at. */
  readonly variant: 'legacy' | 'nft';
  /** Rules and sets. */
  readonly rules: IptablesState;
  /** Of ipvs mode. */
  readonly balancing?: DesiredBalancing;
}

/** Virtual servers, and the addresses of kube-ipvs0. */
export interface DesiredBalancing extends Pick<IpvsState, 'servers' | 'addresses'> {
  /** Virtual servers and addresses in these are somebody else's. */
  readonly excludeCidrs: readonly Cidr[];
}
