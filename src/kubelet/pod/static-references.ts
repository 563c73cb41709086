import { isRaw } from '../../services/field-reader.ts';
import type { Raw } from '../../services/field-reader.ts';
import { placedMaps } from './raw-fields.ts';
import type { PodProblem } from './pod-schema.ts';

const reason = 'a static pod cannot refer to objects of the API server';

/** Sources of volumes that are objects of the API server, or name some. */
const referring: ReadonlySet<string> = new Set([
  'secret',
  'configMap',
  'persistentVolumeClaim',
  'ephemeral',
  'csi',
]);
/** These do where they name a Secret. */
const withSecret = ['secretRef', 'secretName', 'nodePublishSecretRef'] as const;

/** What of a static pod is an object of the API server, which need not be there when the pod starts (Kubernetes: Create static Pods). */
export function apiReferences(spec: Raw): readonly PodProblem[] {
  const fields = [
    ...podReferences(spec),
    ...placedMaps(spec, 'volumes', 'spec').flatMap(([volume, at]) => volumeReferences(volume, at)),
    ...['initContainers', 'containers'].flatMap((key) =>
      placedMaps(spec, key, 'spec').flatMap(([container, at]) =>
        containerReferences(container, at),
      ),
    ),
  ];
  return fields.map((field) => ({ field, reason }));
}

function podReferences(spec: Raw): readonly string[] {
  const named = (key: string): boolean => typeof spec[key] === 'string' && spec[key] !== '';
  return [
    ...['serviceAccountName', 'runtimeClassName'].filter(named).map((key) => `spec.${key}`),
    ...['imagePullSecrets', 'resourceClaims'].flatMap((key) =>
      placedMaps(spec, key, 'spec').map(([, at]) => at),
    ),
  ];
}

function volumeReferences(volume: Raw, at: string): readonly string[] {
  return Object.entries(volume).flatMap(([source, value]) => {
    if (!isRaw(value)) return [];
    if (referring.has(source)) return [`${at}.${source}`];
    if (source === 'projected') {
      return placedMaps(value, 'sources', `${at}.projected`).flatMap(([projection, here]) =>
        Object.keys(projection)
          .filter((kind) => kind !== 'downwardAPI')
          .map((kind) => `${here}.${kind}`),
      );
    }
    return withSecret
      .filter((key) => (value[key] ?? undefined) !== undefined)
      .map((key) => `${at}.${source}.${key}`);
  });
}

function containerReferences(container: Raw, at: string): readonly string[] {
  const from = placedMaps(container, 'envFrom', at).flatMap(([each, here]) =>
    ['configMapRef', 'secretRef'].filter((key) => isRaw(each[key])).map((key) => `${here}.${key}`),
  );
  const single = placedMaps(container, 'env', at).flatMap(([variable, here]) => {
    const valueFrom = variable['valueFrom'];
    if (!isRaw(valueFrom)) return [];
    return ['configMapKeyRef', 'secretKeyRef']
      .filter((key) => isRaw(valueFrom[key]))
      .map((key) => `${here}.valueFrom.${key}`);
  });
  return [...from, ...single];
}
