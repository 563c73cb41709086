import { createHash } from 'node:crypto';

import type { FieldProblem, Kind, KubeObject } from './kind.ts';

/** Built-in resources without a namespace; every other object without one is in `default`. */
const CLUSTER_SCOPED = new Set([
  'csidrivers',
  'csinodes',
  'ipaddresses',
  'namespaces',
  'nodes',
  'persistentvolumes',
  'priorityclasses',
  'runtimeclasses',
  'servicecidrs',
  'storageclasses',
  'volumeattachments',
]);

/** A raw object that says what it is called. */
interface Identified extends Record<string, unknown> {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
  } & Record<string, unknown>;
}

/**
 * Adds what the API server would have filled in: the namespace and a uid. Without `raw` where the
 * object names a namespace that cannot be used: elsewhere it would be another object.
 */
export function withIdentity(
  raw: Record<string, unknown>,
  metadata: Record<string, unknown>,
  name: string,
  kind: Kind<KubeObject>,
): { readonly raw: Identified | undefined; readonly problems: readonly FieldProblem[] } {
  const given = metadata['namespace'] ?? '';
  if (typeof given !== 'string') return { raw: undefined, problems: [noString('namespace')] };
  const fallback = CLUSTER_SCOPED.has(kind.resource) ? '' : 'default';
  const namespace = given === '' ? fallback : given;
  const uid = metadata['uid'] ?? '';
  const usable = typeof uid === 'string' && uid !== '';
  return {
    raw: {
      ...raw,
      metadata: {
        ...metadata,
        name,
        namespace,
        uid: usable ? uid : stableUid(kind, namespace, name),
      },
    },
    problems: typeof uid === 'string' ? [] : [noString('uid')],
  };
}

function noString(field: string): FieldProblem {
  return { field: `metadata.${field}`, reason: `is no string (${field} 123 has to be quoted)` };
}

/** Made from what the object is called: the same object has it in every run and on every node. */
function stableUid(kind: Kind<KubeObject>, namespace: string, name: string): string {
  const hash = createHash('sha256')
    .update([kind.apiVersion, kind.kind, namespace, name].join('\0'))
    .digest('hex');
  return [
    hash.slice(0, 8),
    hash.slice(8, 12),
    hash.slice(12, 16),
    hash.slice(16, 20),
    hash.slice(20, 32),
  ].join('-');
}
