import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../clock.ts';
import { Informer } from '../informer/informer.ts';
import type { Source } from '../informer/source.ts';
import type { Address } from '../ip/address.ts';
import type { NodeObject } from '../services/objects.ts';
import type { Log } from '../telemetry/log.ts';
import type { Reservations } from './backends.ts';
import { nodeOwners, ownedReason } from './node-owners.ts';

/** What {@link ManifestReservations} are made of. */
export interface ManifestReservationsOptions {
  /** Every Node among the manifests. */
  readonly nodes: Source<NodeObject>;
  readonly nodeName: string;
  /** Another answer may be given now to what was asked before. */
  readonly onChange: () => void;
  readonly clock: Clock;
  readonly log: Log;
}

const longestWaitMs = 5000;

/**
 * Addresses that no Service may take, since a Node among the manifests has them. They cost nothing to be watched, and
 * where there are none nothing is refused.
 */
export class ManifestReservations implements Reservations {
  readonly #options: ManifestReservationsOptions;
  readonly #informer: Informer<NodeObject>;
  readonly #listed = new AbortController();
  #owners: ReadonlyMap<Address, string> = new Map();
  #version = 0;

  constructor(options: ManifestReservationsOptions) {
    this.#options = options;
    const { nodes, log } = options;
    const changed = (): void => {
      if (this.#listed.signal.aborted) this.#look();
    };
    const synced = (): void => {
      this.#look();
      this.#listed.abort();
    };
    const handlers = [{ added: changed, updated: changed, removed: changed, synced }];
    this.#informer = new Informer({ source: nodes, handlers, log, name: 'nodes' });
  }

  get version(): number {
    return this.#version;
  }

  reason(address: Address): string | undefined {
    const owner = this.#owners.get(address);
    return owner === undefined ? undefined : ownedReason(address, owner);
  }

  async ready(addresses: readonly Address[], signal: AbortSignal): Promise<void> {
    const listed = this.#listed.signal;
    if (addresses.length === 0 || listed.aborted) return;
    await this.#options.clock.sleep(longestWaitMs, AbortSignal.any([signal, listed]));
  }

  /** Watches until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#informer.start(signal);
  }

  #look(): void {
    const { nodeName, onChange } = this.#options;
    const owners = nodeOwners(this.#informer.store.values(), nodeName);
    if (isDeepStrictEqual(owners, this.#owners)) return;
    this.#owners = owners;
    this.#version++;
    onChange();
  }
}
