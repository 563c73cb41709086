/** The object an Event is about. */
export interface EventRegarding {
  readonly apiVersion: string;
  readonly kind: string;
  /** '' where the kind has none. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** Something about an object that an operator must act on, or wants to know. */
export interface ObjectEvent {
  readonly regarding: EventRegarding;
  /** Left out: Warning. */
  readonly type?: 'Normal';
  /** For machines, in CamelCase: `AddressRefused`. */
  readonly reason: string;
  /** What was tried, in CamelCase: `BindAddress`. */
  readonly action: string;
  /** What is wrong, what was expected and what to do. What is over 1 KiB is cut off. */
  readonly note: string;
  /** `cluster`: every node says this in the same words, so that it is told once for all of them. */
  readonly scope: 'node' | 'cluster';
}

/** Where Events are told. Neither waits nor throws. */
export interface Events {
  tell(event: ObjectEvent): void;
}

/** The repeats of an Event, as events.k8s.io/v1 has them. */
export interface WireSeries {
  /** With the first one: 2 or more. */
  readonly count: number;
  readonly lastObservedTime: string;
}

/** An Event as events.k8s.io/v1 has it (KEP-383). */
export interface WireEvent {
  readonly apiVersion: 'events.k8s.io/v1';
  readonly kind: 'Event';
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly eventTime: string;
  readonly series?: WireSeries;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly action: string;
  readonly reason: string;
  readonly regarding: Omit<EventRegarding, 'namespace'> & { readonly namespace?: string };
  readonly note: string;
  readonly type: 'Normal' | 'Warning';
}

/** What became of a write. */
export type EventAnswer =
  | { readonly kind: 'written' }
  /** An Event of this name is there already. */
  | { readonly kind: 'exists' }
  /** The Event that was to be patched has expired. */
  | { readonly kind: 'gone' }
  | {
      readonly kind: 'failed';
      readonly reason: string;
      readonly retryable: boolean;
      /** The server's own wish. */
      readonly retryAfterMs: number | undefined;
    };

/** Where Events are written. Every call ends within bounded time; rejects only where `signal` aborts. */
export interface EventSink {
  create(event: WireEvent, signal: AbortSignal): Promise<EventAnswer>;
  patchSeries(
    { namespace, name }: WireEvent['metadata'],
    series: WireSeries,
    signal: AbortSignal,
  ): Promise<EventAnswer>;
}
