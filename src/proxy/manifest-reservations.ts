import type { Clock } from '../clock.ts';
import type { InformerHandler } from '../informer/source.ts';
import type { Address } from '../ip/address.ts';
import type { EndpointSliceObject } from '../services/objects.ts';
import type { Reservations } from './open-mode.ts';
import { FollowedNodes } from './followed-nodes.ts';
import type { FollowedNodesOptions } from './followed-nodes.ts';
import { ownedReason } from './node-owners.ts';

/** What {@link ManifestReservations} are made of; `nodes` are those among the manifests. */
export interface ManifestReservationsOptions extends Omit<FollowedNodesOptions, 'most'> {
  readonly clock: Clock;
}

const longestWaitMs = 5000;

/**
 * Addresses that no Service may take, since a Node among the manifests has them. They cost nothing to be watched, and
 * where there are none nothing is refused.
 */
export class ManifestReservations implements Reservations {
  /** Nodes tell all by themselves. */
  readonly slices: InformerHandler<EndpointSliceObject> = {};
  readonly #clock: Clock;
  readonly #nodes: FollowedNodes;
  #version = 0;

  constructor({ clock, onChange, ...options }: ManifestReservationsOptions) {
    this.#clock = clock;
    const changed = (): void => {
      this.#version++;
      onChange();
    };
    this.#nodes = new FollowedNodes({ ...options, onChange: changed });
  }

  get version(): number {
    return this.#version;
  }

  reason(address: Address): string | undefined {
    const owner = this.#nodes.owners.get(address);
    return owner === undefined ? undefined : ownedReason(address, owner);
  }

  async ready(addresses: readonly Address[], signal: AbortSignal): Promise<void> {
    const { listed } = this.#nodes;
    if (addresses.length === 0 || listed.aborted) return;
    await this.#clock.sleep(longestWaitMs, AbortSignal.any([signal, listed]));
  }

  /** Watches until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#nodes.run(signal);
  }
}
