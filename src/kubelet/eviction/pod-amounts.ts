import type { DiskUse } from '../../host/disk-use.ts';
import type { ContainerDisk, PodUsage } from '../ports/pod-usage.ts';
import type { Resource } from '../node/observations.ts';

/** What of a pod lies on the disk that is short: written over images, the rest, or both. */
export interface StorageParts {
  readonly layers: boolean;
  readonly logsAndVolumes: boolean;
}

export const allStorage: StorageParts = { layers: true, logsAndVolumes: true };

/** How much of a resource a pod uses; undefined: not known, or nonsense. */
export function podAmount(
  usage: PodUsage,
  resource: Resource,
  parts: StorageParts,
): number | undefined {
  switch (resource) {
    case 'memory':
      return sane(usage.memoryBytes);
    case 'pids':
      return sane(usage.processes);
    case 'ephemeral-storage':
      return podStorage(usage, 'bytes', parts);
    case 'inodes':
      return podStorage(usage, 'inodes', parts);
    default:
      return resource satisfies never;
  }
}

/** What one container uses of it; undefined: not known, or it cannot be said of one. */
export function containerAmount(
  usage: ContainerDisk,
  resource: Resource,
  parts: StorageParts,
): number | undefined {
  if (resource === 'memory') return sane(usage.memoryBytes);
  if (resource !== 'ephemeral-storage') return undefined;
  return sum(containerSpaces(usage, 'bytes', parts));
}

function podStorage(
  { containers, volumes }: PodUsage,
  of: keyof DiskUse,
  parts: StorageParts,
): number | undefined {
  const onDisk = [...volumes.values()].filter(({ inMemory }) => !inMemory);
  const volumeSpaces = parts.logsAndVolumes ? onDisk.map((each) => each[of]) : [];
  const spaces = [...containers.values()].flatMap((each) => containerSpaces(each, of, parts));
  return sum([...spaces, ...volumeSpaces]);
}

function containerSpaces(
  { layer, logs }: ContainerDisk,
  of: keyof DiskUse,
  parts: StorageParts,
): readonly (number | undefined)[] {
  return [...(parts.layers ? [layer?.[of]] : []), ...(parts.logsAndVolumes ? [logs?.[of]] : [])];
}

/** Of what is known; undefined: nothing is. */
function sum(amounts: readonly (number | undefined)[]): number | undefined {
  const known = amounts.map(sane).filter((each) => each !== undefined);
  return known.length === 0 ? undefined : known.reduce((all, each) => all + each, 0);
}

function sane(amount: number | undefined): number | undefined {
  return amount !== undefined && Number.isFinite(amount) && amount >= 0 ? amount : undefined;
}
