import { ApiSource as ListWatch } from '../../informer/api-source.ts';
import type { ApiClient } from '../../informer/api-client.ts';
import { Informer } from '../../informer/informer.ts';
import type { InformerHandler, Source } from '../../informer/source.ts';
import type { Clock } from '../../clock.ts';
import type { Log } from '../../telemetry/log.ts';
import { podKind } from '../pod/kind.ts';
import type { PodObject } from '../pod/kind.ts';
import type { Pod } from '../pod/pod.ts';

export interface ApiPodsOptions {
  readonly client: ApiClient;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  /** Resolves when this node's own object has been read once: pods are asked for only then. */
  readonly nodeKnown: Promise<unknown>;
}

/** The pods that are bound to this node: the whole set after each change; an API server that is away changes nothing. */
export class ApiPods {
  readonly #options: ApiPodsOptions;
  readonly #informer: Informer<PodObject>;
  #publish: (pods: readonly Pod[]) => void = () => {};
  #isDue = false;

  constructor(options: ApiPodsOptions, source?: Source<PodObject>) {
    this.#options = options;
    const changed = (): void => {
      this.#due();
    };
    const handler: InformerHandler<PodObject> = {
      added: changed,
      updated: changed,
      removed: changed,
      synced: changed,
    };
    this.#informer = new Informer({
      source: source ?? new ListWatch({ ...options, kind: podKind(options.nodeName) }),
      handlers: [handler],
      log: options.log,
      name: 'pods',
    });
  }

  async run(publish: (pods: readonly Pod[]) => void, signal: AbortSignal): Promise<void> {
    this.#publish = publish;
    await Promise.race([this.#options.nodeKnown, stopped(signal)]);
    if (signal.aborted) return;
    await this.#informer.start(signal);
  }

  /** What changes in one turn is one set. */
  #due(): void {
    if (this.#isDue || !this.#informer.synced) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      this.#publish(Array.from(this.#informer.store.values(), ({ pod }) => pod));
    });
  }
}

async function stopped(signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
