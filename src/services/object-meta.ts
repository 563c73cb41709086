import type { KubeObject, ObjectMeta, Slimmed } from '../informer/kind.ts';
import { FieldReader, isRaw } from './field-reader.ts';
import type { Raw } from './field-reader.ts';
import { labelProblem, objectNameProblem } from './object-names.ts';

/** What `read` makes of a raw object. It is not asked where the value is none, or its name or namespace is none. */
export function slimNamed<T extends KubeObject>(
  value: unknown,
  namespaced: boolean,
  read: (raw: Raw, meta: ObjectMeta, reader: FieldReader) => T,
): Slimmed<T> {
  if (!isRaw(value))
    return { object: undefined, problems: [{ field: '', reason: 'expected an object' }] };
  const reader = new FieldReader();
  const meta = metaOf(value, reader, namespaced);
  return { object: meta && read(value, meta, reader), problems: reader.problems };
}

/** metadata of any object; undefined (with a problem) where its name or namespace is none. */
function metaOf(raw: Raw, reader: FieldReader, namespaced: boolean): ObjectMeta | undefined {
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
