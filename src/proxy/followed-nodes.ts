import { isDeepStrictEqual } from 'node:util';
import { Informer } from '../informer/informer.ts';
import type { Source } from '../informer/source.ts';
import type { Address } from '../ip/address.ts';
import type { NodeObject } from '../services/objects.ts';
import type { Log } from '../telemetry/log.ts';
import { nodeOwners } from './node-owners.ts';

/** What {@link FollowedNodes} are made of. */
export interface FollowedNodesOptions {
  /** Every Node there is. */
  readonly nodes: Source<NodeObject>;
  /** This node's name: its own addresses are no other's. */
  readonly nodeName: string;
  /** More Nodes than so many are listed, and not followed; left out: there may be as many as there are. */
  readonly most?: number;
  /** Others have other addresses than before. */
  readonly onChange: () => void;
  readonly log: Log;
}

/** The addresses of all Nodes but this one, as they change. */
export class FollowedNodes {
  readonly #options: FollowedNodesOptions;
  readonly #informer: Informer<NodeObject>;
  readonly #listed = new AbortController();
  readonly #ended = new AbortController();
  #owners: ReadonlyMap<Address, string> = new Map();

  constructor(options: FollowedNodesOptions) {
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
    this.#informer = new Informer({ source: nodes, handlers, log, name: 'all nodes' });
  }

  /** In words whose each address is; empty until the Nodes are listed. */
  get owners(): ReadonlyMap<Address, string> {
    return this.#owners;
  }

  /** Aborts when the Nodes are listed. */
  get listed(): AbortSignal {
    return this.#listed.signal;
  }

  /** Whether the next change will be heard of. */
  get isFollowed(): boolean {
    return this.#listed.signal.aborted && !this.#ended.signal.aborted;
  }

  /** Lists and watches until `signal` aborts, or there are too many. To be called once. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#informer.start(AbortSignal.any([signal, this.#ended.signal]));
    } finally {
      this.#ended.abort();
    }
  }

  #look(): void {
    const { nodeName, most = Infinity, onChange } = this.#options;
    const { store } = this.#informer;
    if (store.size > most) this.#ended.abort();
    const owners = nodeOwners(store.values(), nodeName);
    if (isDeepStrictEqual(owners, this.#owners)) return;
    this.#owners = owners;
    onChange();
  }
}
