import type { WireMessage } from './wire-message.ts';

/** Metadata every slimmed object keeps. */
export interface ObjectMeta {
  /** '' for cluster-scoped kinds. */
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Milliseconds since the epoch, 0 where unknown. */
  readonly createdAtMs: number;
  /** Where a manifest has it: `web.yaml: document 2`. Absent for objects of an API server. */
  readonly place?: string;
}

export interface KubeObject {
  readonly meta: ObjectMeta;
}

/** A field of an object that cannot be used; the rest of the object still is, where `T` was returned. */
export interface FieldProblem {
  /** `spec.ports[0].port` */
  readonly field: string;
  readonly reason: string;
}

/** What a slimmer makes of one raw object. `object` undefined: not usable at all. */
export interface Slimmed<T> {
  readonly object: T | undefined;
  readonly problems: readonly FieldProblem[];
}

/**
 * One kind of object: how it is addressed in the API, and which fields of it are kept.
 * The informer core knows nothing of Services; the rooms right of it bring their kinds.
 */
export interface Kind<T extends KubeObject> {
  /** `v1`, `discovery.k8s.io/v1`. */
  readonly apiVersion: string;
  /** `Service` */
  readonly kind: string;
  /** `services` */
  readonly resource: string;
  /** Selectors sent to the API server; the manifest sources apply `selects` instead. */
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** The same selection on a raw object, for sources that cannot select. */
  readonly selects?: (raw: unknown) => boolean;
  /** Its fields in Protocol Buffers; lists are then asked for in that form, which costs both ends far less. */
  readonly wire?: WireMessage;
  /** What is in it is shown to nobody: no word of it stands in a log or an error. */
  readonly confidential?: true;
  /** A wider selection that these objects are a part of: what is watched where other parts of the process take other parts of it. */
  readonly within?: Within<T>;
  /** Parses one raw object (JSON/YAML value, already known to be of this kind) and drops what is not needed. */
  readonly slim: (raw: unknown) => Slimmed<T>;
}

/** What of a wider kind is of a narrower one, and how it is shown there. */
export interface Within<T extends KubeObject> {
  readonly kind: Kind<KubeObject>;
  /** undefined: the narrower one does not select it. What is much the same is best given as it is: both then hold one object. */
  readonly narrow: (object: KubeObject) => T | undefined;
}

/** A kind's place in a wider one; nothing but objects of that are narrowed. */
export function within<W extends KubeObject, T extends KubeObject>(
  kind: Kind<W>,
  narrow: (object: W) => T | undefined,
): Within<T> {
  return { kind, narrow: narrow as Within<T>['narrow'] };
}

/** `ns/name`, or `name` for cluster-scoped kinds. */
export function objectKey(meta: Pick<ObjectMeta, 'namespace' | 'name'>): string {
  return meta.namespace === '' ? meta.name : `${meta.namespace}/${meta.name}`;
}
