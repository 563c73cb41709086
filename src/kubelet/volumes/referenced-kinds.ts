import { Buffer } from 'node:buffer';

import type { Kind, KubeObject } from '../../informer/kind.ts';
import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import { slimNamed } from '../../services/object-meta.ts';
import type { ConfigMapData, SecretData } from '../ports/referenced-objects.ts';
import type { Reference } from './references.ts';

export type WatchedConfigMap = KubeObject & ConfigMapData;
export type WatchedSecret = KubeObject & SecretData;

/** A kind that has one object: the node authoriser lets a node read no more at a time. */
export function configMapKind(reference: Reference): Kind<WatchedConfigMap> {
  return {
    ...single(reference, 'configmaps'),
    slim: (value) =>
      slimNamed(value, true, (raw, meta) => ({
        meta,
        data: texts(raw['data']),
        binaryData: bytes(raw['binaryData']),
        immutable: raw['immutable'] === true,
      })),
  };
}

export function secretKind(reference: Reference): Kind<WatchedSecret> {
  return {
    ...single(reference, 'secrets'),
    confidential: true,
    slim: (value) =>
      slimNamed(value, true, (raw, meta) => ({
        meta,
        type: typeof raw['type'] === 'string' ? raw['type'] : 'Opaque',
        data: bytes(raw['data']),
        immutable: raw['immutable'] === true,
      })),
  };
}

function single(
  { kind, namespace, name }: Reference,
  resource: string,
): Pick<Kind<KubeObject>, 'apiVersion' | 'kind' | 'resource' | 'fieldSelector'> {
  return {
    apiVersion: 'v1',
    kind,
    resource: `namespaces/${namespace}/${resource}`,
    fieldSelector: `metadata.name=${name}`,
  };
}

/** What is no text is left out without a word: words about a Secret may say what is in it. */
function texts(value: unknown): Readonly<Record<string, string>> {
  const raw: Raw = isRaw(value) ? value : {};
  const kept = Object.entries(raw).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return Object.fromEntries(kept);
}

function bytes(value: unknown): Readonly<Record<string, Uint8Array>> {
  const encoded = Object.entries(texts(value));
  return Object.fromEntries(encoded.map(([key, text]) => [key, Buffer.from(text, 'base64')]));
}
