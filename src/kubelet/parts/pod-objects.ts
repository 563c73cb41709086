import { Informer } from '../../informer/informer.ts';
import { linkedServiceKind } from '../environment/service-variables.ts';
import type { LinkedService } from '../environment/service-variables.ts';
import type { KubeletBase } from '../base/kubelet-base.ts';
import type { Raw } from '../../services/field-reader.ts';
import { Claims } from '../volumes/claims.ts';
import { WatchedReferences } from '../volumes/referenced-objects.ts';
import { tokenRequester } from '../volumes/token-request.ts';
import { Tokens } from '../volumes/tokens.ts';

/** Pods for which something has come or changed. */
export interface PodObjectsOptions {
  readonly base: Pick<KubeletBase, 'api' | 'clock' | 'random' | 'log'>;
  readonly wake: (uid: string) => void;
  readonly wakeAll: () => void;
  /** Whether a node selector names this node. */
  readonly isNode: (selector: Raw) => boolean;
}

/** What pods need of the API server beside themselves: Services, ConfigMaps and Secrets, tokens, claims. Without an API server there is none of it. */
export class PodObjects {
  /** undefined: there is no API server. */
  readonly references: WatchedReferences | undefined;
  readonly tokens: Tokens | undefined;
  readonly claims: Claims | undefined;
  readonly #services: Informer<LinkedService> | undefined;

  constructor({ base, wake, wakeAll, isNode }: PodObjectsOptions) {
    const { api, clock, random, log } = base;
    if (api === undefined) return;
    this.#services = new Informer({
      source: api.source(linkedServiceKind),
      log,
      name: 'services',
      handlers: [{ synced: wakeAll }],
    });
    const onChange = (uids: readonly string[]): void => {
      for (const uid of uids) wake(uid);
    };
    this.references = new WatchedReferences({ client: api.sharing, clock, random, log, onChange });
    this.tokens = new Tokens({ request: tokenRequester(api.client, clock), clock, random, log });
    this.claims = new Claims({
      claims: api.objects('v1', 'persistentvolumeclaims'),
      volumes: api.objects('v1', 'persistentvolumes'),
      clock,
      isNode,
    });
  }

  /** undefined: they have not been read yet. */
  get services(): Iterable<LinkedService> | undefined {
    if (this.#services === undefined) return [];
    return this.#services.synced ? this.#services.store.values() : undefined;
  }

  /** Until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#services?.start(signal);
  }

  /** Ends all watches of single objects. */
  async close(): Promise<void> {
    await this.references?.close();
  }
}
