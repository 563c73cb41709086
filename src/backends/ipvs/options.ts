import type { Address } from '../../ip/address.ts';
import type { Features, LoweringOptions } from '../iptables/state.ts';
import type { SchedulerChoice } from './schedulers.ts';
import type { Missing } from './tool-problems.ts';

/** What tools and kernel can do, as far as this mode asks; ipsets have to be there. */
export interface IpvsFeatures extends Pick<Features, 'randomFully'> {
  readonly hairpin: 'bpf' | 'ipset';
}

/** What `render` assumes. */
export const defaultIpvsFeatures: IpvsFeatures = { hairpin: 'bpf', randomFully: true };

/** Settings of the lowering that come from the configuration and the node. */
export interface IpvsOptions extends Pick<
  LoweringOptions,
  'masqueradeMark' | 'conntrackBeLiberal'
> {
  readonly features: IpvsFeatures;
  /** Of pools that name none: `rr`, or what --ipvs-scheduler says. */
  readonly scheduler: string;
  /** What is wrong with a scheduler that Services get otherwise. Where an answer changes, the next delta has to be of everything. */
  readonly schedulerProblem: (choice: SchedulerChoice) => Missing | undefined;
  /**
   * Why an external or load balancer IP is not taken, where it is an address of another Node or of the API server. Where
   * an answer changes, the next delta has to be of everything.
   */
  readonly reserved: (address: Address) => string | undefined;
}
