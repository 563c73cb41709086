import type { Clock } from '../clock.ts';
import { Informer } from '../informer/informer.ts';
import type { KubeObject } from '../informer/kind.ts';
import type { InformerHandler, Source } from '../informer/source.ts';
import { endpointSliceKind } from '../services/endpoint-slice-kind.ts';
import type {
  EndpointSliceObject,
  NodeObject,
  ServiceCidrObject,
  ServiceObject,
} from '../services/objects.ts';
import { serviceCidrKind } from '../services/service-cidr-kind.ts';
import { serviceKind } from '../services/service-kind.ts';
import type { Log } from '../telemetry/log.ts';
import { tellWaiting } from './first-lists.ts';
import type { ObjectSources } from './sources.ts';

/** What {@link ObjectInformers} are made of. */
export interface ObjectInformersOptions {
  readonly sources: ObjectSources;
  /** This Node alone. */
  readonly ownNode: Source<NodeObject>;
  readonly nodeHandler: InformerHandler<NodeObject>;
  readonly serviceCidrHandler: InformerHandler<ServiceCidrObject>;
  /** Told of Services before the consumers. */
  readonly serviceHandlers: readonly InformerHandler<ServiceObject>[];
  /** Told of EndpointSlices before the consumers. */
  readonly sliceHandlers: readonly InformerHandler<EndpointSliceObject>[];
  /** A pipeline for each family. */
  readonly consumers: readonly ObjectConsumer[];
  readonly clock: Clock;
  readonly log: Log;
}

/** Where Services and EndpointSlices go; a pipeline is one. */
export interface ObjectConsumer {
  readonly services: InformerHandler<ServiceObject>;
  readonly slices: InformerHandler<EndpointSliceObject>;
}

/** The informers of the proxy: all that rules are made of. */
export class ObjectInformers {
  readonly #options: ObjectInformersOptions;
  readonly #node: Informer<NodeObject>;
  readonly #serviceCidrs: Informer<ServiceCidrObject>;
  readonly #services: Informer<ServiceObject>;
  readonly #slices: Informer<EndpointSliceObject>;
  /** Resolves when Services and EndpointSlices were listed, and all consumers told; never where nobody does. */
  readonly listed: Promise<unknown>;

  constructor(options: ObjectInformersOptions) {
    this.#options = options;
    const { consumers, sources, serviceHandlers, sliceHandlers } = options;
    const servicesListed = Promise.withResolvers<void>();
    const slicesListed = Promise.withResolvers<void>();
    this.listed = Promise.all([servicesListed.promise, slicesListed.promise]);
    const services: readonly InformerHandler<ServiceObject>[] = [
      ...serviceHandlers,
      ...consumers.map((each) => each.services),
      { synced: () => servicesListed.resolve() },
    ];
    const slices: readonly InformerHandler<EndpointSliceObject>[] = [
      ...sliceHandlers,
      ...consumers.map((each) => each.slices),
      { synced: () => slicesListed.resolve() },
    ];
    this.#node = this.#informer('nodes', options.ownNode, [options.nodeHandler]);
    this.#serviceCidrs = this.#informer('servicecidrs', sources.source(serviceCidrKind), [
      options.serviceCidrHandler,
    ]);
    this.#services = this.#informer('services', sources.source(serviceKind), services);
    this.#slices = this.#informer('endpointslices', sources.source(endpointSliceKind), slices);
  }

  /** Each kind, whether its first list has come, and how many objects it has. */
  get lists(): readonly {
    readonly name: string;
    readonly complete: boolean;
    readonly objects: number;
  }[] {
    const all = [this.#services, this.#slices, this.#node, this.#serviceCidrs];
    return all.map(({ name, synced, store }) => ({ name, complete: synced, objects: store.size }));
  }

  /** Lists and watches until `signal` aborts, and says which first list is long in coming. */
  async run(signal: AbortSignal): Promise<void> {
    // Rules wait for all lists but that of ServiceCIDRs, which clusters before 1.33 may not have.
    const awaited = [this.#node, this.#services, this.#slices];
    await Promise.all([
      this.#node.start(signal),
      this.#serviceCidrs.start(signal),
      this.#services.start(signal),
      this.#slices.start(signal),
      tellWaiting(awaited, this.#options, signal),
    ]);
  }

  #informer<T extends KubeObject>(
    name: string,
    source: Source<T>,
    handlers: readonly InformerHandler<T>[],
  ): Informer<T> {
    return new Informer({ source, handlers, log: this.#options.log, name });
  }
}
