import type { ObjectMeta } from '../informer/kind.ts';
import type { FieldReader, Raw } from './field-reader.ts';
import { labelProblem, objectNameProblem } from './object-names.ts';

/** metadata of any object; undefined (with a problem) where its name or namespace is none. */
export function metaOf(raw: Raw, reader: FieldReader, namespaced: boolean): ObjectMeta | undefined {
  const meta = reader.object(raw, 'metadata', 'metadata');
  const name = reader.text(meta, 'name', 'metadata.name') ?? '';
  if (name === '') return reader.report('metadata.name', 'expected a name, got none');
  const namespace = namespaced
    ? (reader.text(meta, 'namespace', 'metadata.namespace') ?? 'default')
    : '';
  const badName = objectNameProblem(name);
  if (badName !== undefined) return reader.report('metadata.name', badName);
  const badNamespace = namespaced ? labelProblem(namespace) : undefined;
  if (badNamespace !== undefined) return reader.report('metadata.namespace', badNamespace);
  const created = reader.text(meta, 'creationTimestamp', 'metadata.creationTimestamp');
  const createdAtMs = created === undefined ? 0 : Date.parse(created);
  return {
    namespace,
    name,
    uid: reader.text(meta, 'uid', 'metadata.uid') ?? '',
    createdAtMs: Number.isNaN(createdAtMs) ? 0 : createdAtMs,
  };
}

/** One label of a raw object; '' is a value, undefined means the key is absent. */
export function labelOf(raw: Raw, reader: FieldReader, key: string): string | undefined {
  const meta = reader.object(raw, 'metadata', 'metadata');
  return reader.text(
    reader.object(meta, 'labels', 'metadata.labels'),
    key,
    `metadata.labels[${key}]`,
  );
}
