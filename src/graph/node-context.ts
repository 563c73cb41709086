import type { Address, Family } from '../ip/address.ts';
import type { Cidr } from '../ip/cidr.ts';

/** How traffic from this node's pods is told from other traffic (`detectLocalMode` of KubeProxyConfiguration). */
export type PodDetector =
  | { readonly kind: 'none' }
  | { readonly kind: 'cidr'; readonly cidr: Cidr }
  | { readonly kind: 'interface'; readonly name: string }
  | { readonly kind: 'interfacePrefix'; readonly prefix: string };

/** Addresses on which node ports answer (`nodePortAddresses` of KubeProxyConfiguration). */
export type NodePortAddresses =
  /** Every local address; `loopback` says whether 127.0.0.0/8 is among them (IPv6: never ::1). */
  | { readonly kind: 'all'; readonly loopback: boolean }
  | { readonly kind: 'list'; readonly addresses: readonly Address[] };

/** What the rule graph needs to know of the node, for one family. A live input: it may change. */
export interface NodeContext {
  readonly family: Family;
  readonly nodeName: string;
  readonly podDetector: PodDetector;
  /** The node's own address of this family, for source ranges that contain the node. */
  readonly nodeAddress: Address | undefined;
  /** Addresses of the node's interfaces, sorted; loopback included. Used by interpret only (`LOCAL`). */
  readonly localAddresses: readonly Address[];
  readonly nodePortAddresses: NodePortAddresses;
  readonly masqueradeAll: boolean;
  /** ServiceCIDRs of this family, sorted; only inside them masquerade marks are hoisted. */
  readonly serviceCidrs: readonly Cidr[];
}
