import type { Log } from '../telemetry/log.ts';
import { objectKey, type Kind, type KubeObject } from './kind.ts';
import { versionNumber } from './object-versions.ts';
import { slimSafely } from './slim.ts';

/** `/api/v1/services`, `/apis/discovery.k8s.io/v1/endpointslices`: all namespaces. */
export function resourcePath(kind: Kind<KubeObject>): string {
  const root = kind.apiVersion.includes('/') ? '/apis' : '/api';
  return `${root}/${kind.apiVersion}/${kind.resource}`;
}

/** The selection, as list and watch take it. */
export function selectorQuery(kind: Kind<KubeObject>): Record<string, string> {
  return {
    ...(kind.labelSelector === undefined ? {} : { labelSelector: kind.labelSelector }),
    ...(kind.fieldSelector === undefined ? {} : { fieldSelector: kind.fieldSelector }),
  };
}

/** One object of a list or watch. */
export interface ApiObject<T extends KubeObject> {
  /** Undefined where it has not even a name. */
  readonly key: string | undefined;
  /** Undefined where it cannot be compared. */
  readonly version: number | undefined;
  readonly resourceVersion: string | undefined;
  /** Undefined where it cannot be used; that was logged. */
  readonly object: T | undefined;
}

/** Slims a raw object. What is wrong with it is logged with its name and field; others go on. */
export function readApiObject<T extends KubeObject>(
  raw: unknown,
  kind: Kind<T>,
  log: Log,
): ApiObject<T> {
  const { namespace, name, resourceVersion } = metadataOf(raw);
  if (typeof name !== 'string' || name === '') {
    log.warn({ kind: kind.kind, field: 'metadata.name' }, `${kind.kind} without a name ignored`);
    return { key: undefined, version: undefined, resourceVersion: undefined, object: undefined };
  }
  const key = objectKey({ namespace: typeof namespace === 'string' ? namespace : '', name });
  const { object, problems } = slimSafely(kind, raw);
  const effect = object === undefined ? 'the object is ignored' : 'the rest of it is used';
  for (const { field, reason } of problems) {
    const place = field === '' ? key : `${key}: ${field}`;
    log.warn(
      { kind: kind.kind, object: key, field },
      `${kind.kind} ${place}: ${reason}; ${effect}`,
    );
  }
  if (object === undefined && problems.length === 0) {
    log.warn({ kind: kind.kind, object: key }, `${kind.kind} ${key} cannot be used`);
  }
  const stated = typeof resourceVersion === 'string' ? resourceVersion : undefined;
  const version = stated === undefined ? undefined : versionNumber(stated);
  return { key, version, resourceVersion: stated, object };
}

/** `metadata` of an object or a list, its fields unchecked. */
export function metadataOf(raw: unknown): {
  readonly namespace?: unknown;
  readonly name?: unknown;
  readonly resourceVersion?: unknown;
  readonly continue?: unknown;
  readonly remainingItemCount?: unknown;
} {
  if (typeof raw !== 'object' || raw === null || !('metadata' in raw)) return {};
  return typeof raw.metadata === 'object' && raw.metadata !== null ? raw.metadata : {};
}
