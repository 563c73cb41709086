import { allContainers } from '../pod/pod.ts';
import type { Container } from '../pod/container.ts';
import type { Pod } from '../pod/pod.ts';
import type { Volume } from '../pod/volume.ts';

export type ReferenceKind = 'ConfigMap' | 'Secret';

/** An object that a pod names; all in the pod's namespace. */
export interface Reference {
  readonly kind: ReferenceKind;
  readonly namespace: string;
  readonly name: string;
}

/** Every ConfigMap and Secret that a pod names: in variables, volumes and for pulling images. */
export function referencesOf({
  metadata,
  spec,
}: Pick<Pod, 'metadata' | 'spec'>): readonly Reference[] {
  const containers = allContainers(spec);
  const found: readonly Naming[] = [
    ...(spec.imagePullSecrets ?? []).map(({ name = '' }) => ({ secret: { name } })),
    ...containers.flatMap(ofContainer),
    ...spec.volumes.flatMap(ofVolume),
  ];
  const { namespace } = metadata;
  return [
    ...namesOf(found.map(({ configMap }) => configMap)).map((name): Reference => ({
      kind: 'ConfigMap',
      namespace,
      name,
    })),
    ...namesOf(found.map(({ secret }) => secret)).map((name): Reference => ({
      kind: 'Secret',
      namespace,
      name,
    })),
  ];
}

interface Named {
  readonly name: string;
}

/** One or none of the two. */
interface Naming {
  readonly configMap?: Named | undefined;
  readonly secret?: Named | undefined;
}

function ofContainer({ env, envFrom }: Container): readonly Naming[] {
  return [
    ...envFrom.map(({ configMapRef, secretRef }) => ({
      configMap: configMapRef,
      secret: secretRef,
    })),
    ...env.map(({ valueFrom }) => ({
      configMap: valueFrom?.configMapKeyRef,
      secret: valueFrom?.secretKeyRef,
    })),
  ];
}

function ofVolume({ configMap, secret, projected }: Volume): readonly Naming[] {
  const own = { configMap, secret: secret && { name: secret.secretName } };
  return [own, ...(projected?.sources ?? [])];
}

function namesOf(named: readonly (Named | undefined)[]): readonly string[] {
  const names = named.flatMap((each) => (each === undefined ? [] : [each.name]));
  return [...new Set(names)].filter((name) => name !== '');
}
