import type { RefusedAddress, StuckAddress, Unprogrammed } from '../backends/sync-report.ts';
import type { Clock } from '../clock.ts';
import type { ObjectMeta } from '../informer/kind.ts';
import type { InformerHandler } from '../informer/source.ts';
import type { ServiceObject } from '../services/objects.ts';
import type { ServiceName, ServicePort, ServicePortKey } from '../services/service-port.ts';
import { EventRecorder } from '../telemetry/event-recorder.ts';
import type { EventSink, Events, ObjectEvent } from '../telemetry/events.ts';
import type { Log } from '../telemetry/log.ts';
import { NodeEvents, stuckAdvice } from './node-events.ts';

/** The service ports of the moment, by which an Event finds the Service that it is about. */
export type ServicePorts = ReadonlyMap<ServicePortKey, ServicePort>;

/** Who tells, and with what. */
export interface EventsOptions {
  readonly nodeName: string;
  readonly clock: Clock;
  readonly log: Log;
  /** What agents before this one have told; left out: nothing. */
  readonly told?: ToldAnnotations;
  /** Told of what became of each Event; for metrics. */
  readonly onEnd?: (end: 'written' | 'dropped') => void;
}

/** Where the agent tells of objects. */
export interface OpenEvents {
  readonly services: ServiceEvents;
  readonly node: NodeEvents;
  readonly running: Promise<void>;
  /** Waits for what is told to be written, but not for long. */
  flush(): Promise<void>;
}

const longestFlushMs = 3000;

/** A healthCheckNodePort that cannot be listened on. */
export interface FailedHealthPort {
  readonly service: ServiceName;
  readonly uid: string;
  readonly port: number;
  readonly reason: string;
}

const controller = 'switchyard.io/proxy';

/** What was told of the annotations of Services, by uid. An agent that takes over goes on from there. */
export type ToldAnnotations = Map<string, string>;

/** Events on Services for what an operator must act on. Who calls this tells each problem once, and again when it came back. */
export class ServiceEvents {
  readonly #events: Events;
  readonly #nodeName: string;
  readonly #told: ToldAnnotations;

  constructor(events: Events, nodeName: string, told: ToldAnnotations = new Map()) {
    this.#events = events;
    this.#nodeName = nodeName;
    this.#told = told;
  }

  /** Tells of annotations that are not understood; Services without any cost nothing. */
  readonly handler: InformerHandler<ServiceObject> = {
    added: (service) => {
      this.#misunderstood(service);
    },
    updated: (_previous, service) => {
      this.#misunderstood(service);
    },
    removed: ({ meta }) => {
      this.#told.delete(meta.uid);
    },
  };

  /** A Service is not served at an address. */
  addressRefused({ address, origin, reason }: RefusedAddress, servicePorts: ServicePorts): void {
    const expected =
      'expected an address that is neither loopback nor link-local, nor of a Node or the API server';
    const advice = 'choose another for spec.externalIPs or status.loadBalancer.ingress';
    this.#tell(servicePorts.get(origin.servicePort), {
      reason: 'AddressRefused',
      action: 'BindAddress',
      note: `not served at ${address}: ${reason}; ${expected}: ${advice}`,
      scope: 'cluster',
    });
  }

  /** A node still has an address that a Service has no more. */
  addressStuck({ origin, reason }: StuckAddress, servicePorts: ServicePorts): void {
    this.#tell(origin && servicePorts.get(origin.servicePort), {
      reason: 'AddressStuck',
      action: 'UnbindAddress',
      note: `an address that it has no more is left on node ${this.#nodeName}: ${reason}; ${stuckAdvice}`,
      scope: 'node',
    });
  }

  /** The kernel refused what a service port needs. */
  notProgrammed({ name, reason }: Unprogrammed, servicePorts: ServicePorts): void {
    const keys = ['TCP', 'UDP', 'SCTP'].map((protocol) => `${name}/${protocol}` as ServicePortKey);
    const port = keys.map((key) => servicePorts.get(key)).find((each) => each !== undefined);
    const advice = 'it is tried again; the log of switchyard there says more';
    this.#tell(port, {
      reason: 'NotProgrammed',
      action: 'ProgramRules',
      note: `${name} is not served by node ${this.#nodeName}: ${reason}; ${advice}`,
      scope: 'node',
    });
  }

  /** The port at which load balancers ask for a Service's endpoints is somebody else's; reason and action are kube-proxy's. */
  healthPortFailed({ service, port, uid, reason }: FailedHealthPort): void {
    const [namespace = '', name = ''] = service.split('/');
    this.#tellOn(
      { namespace, name, uid },
      {
        reason: 'FailedToStartServiceHealthcheck',
        action: 'Listen',
        note: `node ${this.#nodeName} failed to start healthcheck ${JSON.stringify(service)} on port ${port}: ${reason}; free the port there, it is tried again`,
        scope: 'node',
      },
    );
  }

  #misunderstood({ meta, misunderstood = [] }: ServiceObject): void {
    const each = misunderstood.map(({ field, reason }) => `${field}: ${reason}`).join('; ');
    if (each === (this.#told.get(meta.uid) ?? '')) return;
    if (each === '') {
      this.#told.delete(meta.uid);
      return;
    }
    this.#told.set(meta.uid, each);
    this.#tellOn(meta, {
      reason: 'AnnotationNotUnderstood',
      action: 'ReadAnnotations',
      note: `left out, the default is used: ${each}`,
      scope: 'cluster',
    });
  }

  #tell(port: ServicePort | undefined, event: Omit<ObjectEvent, 'regarding'>): void {
    if (port === undefined) return; // gone meanwhile
    const [namespace = '', name = ''] = port.service.split('/');
    this.#tellOn({ namespace, name, uid: port.uid }, event);
  }

  #tellOn(
    { namespace, name, uid }: Pick<ObjectMeta, 'namespace' | 'name' | 'uid'>,
    event: Omit<ObjectEvent, 'regarding'>,
  ): void {
    const regarding = { apiVersion: 'v1', kind: 'Service', namespace, name, uid };
    this.#events.tell({ ...event, regarding });
  }
}

/** Events that go to `sink` until `signal` aborts; undefined without one: then the log alone has what they say. */
export function openEvents(
  sink: EventSink | undefined,
  { nodeName, told, ...options }: EventsOptions,
  signal: AbortSignal,
): OpenEvents | undefined {
  if (sink === undefined) return undefined;
  const recorder = new EventRecorder({ ...options, sink, controller, instance: nodeName });
  return {
    services: new ServiceEvents(recorder, nodeName, told),
    node: new NodeEvents(recorder, nodeName),
    running: recorder.run(signal),
    flush: async () => recorder.flush(longestFlushMs),
  };
}
