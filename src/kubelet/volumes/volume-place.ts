import { allContainers } from '../pod/pod.ts';
import type { Pod } from '../pod/pod.ts';
import type { Volume } from '../pod/volume.ts';
import type { ClaimedFolder } from './claims.ts';
import type { VolumePlugin } from './pod-directories.ts';

export interface EmptyPlace {
  readonly kind: 'empty-dir';
  readonly medium: string;
  readonly sizeLimit: string | undefined;
}

export interface FilesPlace {
  readonly kind: Exclude<VolumePlugin, 'empty-dir'>;
}

interface HostPlace {
  readonly kind: 'host-path';
  readonly hostPath: NonNullable<Volume['hostPath']>;
}

export interface ClaimPlace {
  readonly kind: 'claim';
  readonly claim: NonNullable<Volume['persistentVolumeClaim']>;
}

/** Where what a volume holds comes from, and lies. */
export type Place = EmptyPlace | FilesPlace | HostPlace | ClaimPlace;

/** Undefined: of a kind that is not known here. */
export function placeOf(volume: Volume): Place | undefined {
  const { emptyDir, hostPath, persistentVolumeClaim: claim } = volume;
  if (hostPath !== undefined) return { kind: 'host-path', hostPath };
  if (emptyDir !== undefined) {
    return { kind: 'empty-dir', medium: emptyDir.medium ?? '', sizeLimit: emptyDir.sizeLimit };
  }
  if (claim !== undefined) return { kind: 'claim', claim };
  if (volume.configMap !== undefined) return { kind: 'configmap' };
  if (volume.secret !== undefined) return { kind: 'secret' };
  if (volume.projected !== undefined) return { kind: 'projected' };
  return volume.downwardAPI === undefined ? undefined : { kind: 'downward-api' };
}

/** Whether it holds files of objects, which are kept up to date. */
export function isFiles(place: Place): place is FilesPlace {
  return place.kind !== 'empty-dir' && place.kind !== 'host-path' && place.kind !== 'claim';
}

/**
 * Who makes it, as upstream's kubelet calls them: `kubernetes.io/empty-dir`; for a claim, whose volume it is bound to. Undefined: that is not
 * known.
 */
export function pluginOf(place: Place, claimed: ClaimedFolder | undefined): string | undefined {
  if (place.kind !== 'claim') return `kubernetes.io/${place.kind}`;
  if (claimed === undefined) return undefined;
  return claimed.source === 'local' ? 'kubernetes.io/local-volume' : 'kubernetes.io/host-path';
}

/** Those that a container mounts. */
export function usedVolumes({ spec }: Pod): readonly Volume[] {
  const mounts = allContainers(spec).flatMap(({ volumeMounts }) => volumeMounts);
  const used = new Set(mounts.map(({ name }) => name));
  return spec.volumes.filter(({ name }) => used.has(name));
}
