import type { Clock } from '../clock.ts';
import { errorText, SwitchyardError } from '../error.ts';
import type { NodeContext } from '../graph/node-context.ts';
import { familyOf, isLinkLocal, isLoopback } from '../ip/address.ts';
import type { Address, Family } from '../ip/address.ts';
import { parseCidr } from '../ip/cidr.ts';
import type { Cidr } from '../ip/cidr.ts';
import type { NodeObject, ServiceCidrObject } from '../services/objects.ts';
import { nodeAddresses } from '../services/node-addresses.ts';
import type { Log } from '../telemetry/log.ts';
import { nodeContextOf } from './node-context.ts';
import type { NodeSettings } from './node-context.ts';

export interface NodeStateOptions {
  readonly nodeName: string;
  readonly settings: NodeSettings;
  /** A specific --bind-address stands for the node's address of its family; a wildcard does not. */
  readonly bindAddress: Address;
  /** All addresses of the node's interfaces, but for those of Services. */
  readonly readInterfaces: (signal: AbortSignal) => Promise<readonly Address[]>;
  /** Whether rules are made for each of these addresses: then one more or less is another context. */
  readonly rulesNameAddresses: boolean;
  /** With manifests alone and no Node among them, the node's addresses are those of its interfaces. */
  readonly addressesFromInterfaces: boolean;
  /** How long a reading of the interfaces is good for. */
  readonly interfacesMaxAgeMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * What is known of this node right now: its object, its interfaces, the cluster's ServiceCIDRs. All
 * of it may change while the agent runs; what follows from it is recomputed.
 */
export class NodeState {
  readonly #options: NodeStateOptions;
  readonly #serviceCidrs = new Map<string, readonly Cidr[]>();
  readonly #contexts = new Map<Family, { readonly rules: string; readonly context: NodeContext }>();
  #node: NodeObject | undefined;
  #interfaces: readonly Address[] = [];
  #readAtMs = Number.NEGATIVE_INFINITY;
  #readFailure: string | undefined;

  constructor(options: NodeStateOptions) {
    this.#options = options;
  }

  /** The newest Node object. */
  get node(): NodeObject | undefined {
    return this.#node;
  }

  /** A deleted Node's addresses and pod CIDRs stay in force: a lost object never removes rules. */
  setNode(node: NodeObject): void {
    this.#node = node;
  }

  setServiceCidr(object: ServiceCidrObject): void {
    const cidrs = object.cidrs.map(parseCidr).filter((cidr) => cidr !== undefined);
    this.#serviceCidrs.set(object.meta.name, cidrs);
  }

  removeServiceCidr(object: ServiceCidrObject): void {
    this.#serviceCidrs.delete(object.meta.name);
  }

  /** At most one address a family, the primary family's first. */
  nodeIPs(): readonly Address[] {
    const { bindAddress } = this.#options;
    const wildcard = bindAddress === '0.0.0.0' || bindAddress === '::';
    const known = this.#node ? nodeAddresses(this.#node) : [];
    const found = known.length > 0 ? known : this.#interfaceIPs();
    if (wildcard) return found;
    return [bindAddress, ...found.filter((each) => familyOf(each) !== familyOf(bindAddress))];
  }

  /**
   * The node as the rules of one family see it. The same object is returned as long as the rules
   * would be the same: pods come and go with their interfaces, which alone must cost nothing. Rejects where rules are
   * made for addresses that could not be read yet.
   */
  async context(family: Family, signal: AbortSignal): Promise<NodeContext> {
    await this.refresh(signal);
    this.#needAddresses();
    const { nodeName, settings } = this.#options;
    const context = nodeContextOf(
      settings,
      {
        nodeName,
        nodeIPs: this.nodeIPs(),
        interfaceAddresses: this.#interfaces,
        podCidrs: (this.#node?.podCIDRs ?? []).map(parseCidr).filter((cidr) => cidr !== undefined),
        serviceCidrs: [...new Set([...this.#serviceCidrs.values()].flat())],
      },
      family,
    );
    const named = this.#options.rulesNameAddresses ? context.localAddresses.filter(canBeNamed) : [];
    const rules = JSON.stringify({ ...context, localAddresses: named });
    const before = this.#contexts.get(family);
    if (before?.rules === rules) return before.context;
    this.#contexts.set(family, { rules, context });
    return context;
  }

  /** The node's addresses of one family, as last read. */
  localAddresses(family: Family): readonly Address[] {
    return this.#interfaces.filter((each) => familyOf(each) === family);
  }

  /** Reads the interfaces, where the last reading is too old. A failure keeps what was read before. */
  async refresh(signal: AbortSignal): Promise<void> {
    const { clock, interfacesMaxAgeMs, readInterfaces, log } = this.#options;
    if (clock.monotonic() - this.#readAtMs < interfacesMaxAgeMs) return;
    try {
      this.#interfaces = await readInterfaces(signal);
      this.#readAtMs = clock.monotonic();
      this.#readFailure = undefined;
    } catch (error) {
      if (signal.aborted) return;
      const reason = errorText(error);
      if (reason !== this.#readFailure)
        log.warn({ err: error }, `cannot read interfaces: ${reason}`);
      this.#readFailure = reason;
    }
  }

  /** A mode that does not know the node's own addresses would take them for those of a Service. */
  #needAddresses(): void {
    if (!this.#options.rulesNameAddresses || this.#readAtMs !== Number.NEGATIVE_INFINITY) return;
    const reason = this.#readFailure ?? 'nobody has looked';
    throw new SwitchyardError('tool', `the node's own addresses are not known: ${reason}`, {
      retryable: true,
    });
  }

  #interfaceIPs(): readonly Address[] {
    if (!this.#options.addressesFromInterfaces) return [];
    const usable = this.#interfaces.filter((each) => !isOnlyLocal(each));
    return (['ipv4', 'ipv6'] as const)
      .map((family) => usable.find((each) => familyOf(each) === family))
      .filter((each) => each !== undefined);
  }
}

/** Loopback ones are never named, and IPv6 link-local ones come and go with every pod's interface. */
function canBeNamed(address: Address): boolean {
  return !isLoopback(address) && !isLinkLocal(address);
}

/** Loopback and link-local addresses say nothing about where others reach the node. */
function isOnlyLocal(address: Address): boolean {
  return isLoopback(address) || isLinkLocal(address) || address.startsWith('169.254.');
}
