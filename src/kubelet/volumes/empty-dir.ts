import { access, chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import type { Mounts } from '../../host/mounts.ts';
import type { Allocatable } from '../environment/resource-field.ts';
import type { Pod } from '../pod/pod.ts';
import { quantityOf, wholeUnits } from '../pod/quantity.ts';
import type { Quantity } from '../pod/quantity.ts';
import { giveToGroup } from './ownership.ts';
import type { PodDirectories } from './pod-directories.ts';

/** A folder that begins empty: an `emptyDir`, or what the files of another volume lie in. */
export interface EmptyFolder {
  readonly path: string;
  /** Where `ready` tells that it was set up whole. */
  readonly marker: string;
  readonly medium: 'disk' | 'memory';
  /** Of a folder in memory. */
  readonly sizeBytes?: bigint | undefined;
}

/** Sets a folder up, unless it was before; what is in it stays. One in memory is made anew after a reboot. */
export async function setUpEmpty(
  { path, marker, medium, sizeBytes }: EmptyFolder,
  { spec }: Pod,
  { mounts, directories }: { readonly mounts: Mounts; readonly directories: PodDirectories },
  signal: AbortSignal,
): Promise<void> {
  await directories.make(path);
  const isThere = medium === 'disk' || (await mounts.begins(path));
  const ready = join(marker, 'ready');
  if (isThere && (await isPresent(ready))) return;
  if (!isThere) {
    const size = sizeBytes === undefined ? {} : { sizeBytes };
    await mounts.tmpfs(path, { mode: '0777', ...size }, signal);
  }
  await chmod(path, 0o777);
  await giveToGroup(path, spec.securityContext);
  await directories.make(marker);
  await writeFile(ready, '', { mode: 0o640 });
}

/** How large a folder in memory may become: by its own limit, the pod's where all of its containers have one, and the node's. */
export function memoryBytes(
  { spec }: Pod,
  sizeLimit: string | undefined,
  allocatable: Allocatable,
): bigint | undefined {
  const limits = [
    sizeLimit === undefined ? undefined : quantityOf(sizeLimit),
    podMemory(spec),
    allocatable('memory'),
  ].flatMap((limit) => (limit === undefined || limit <= 0n ? [] : [limit]));
  const [first, ...others] = limits;
  if (first === undefined) return undefined;
  return wholeUnits(others.reduce((least, each) => (each < least ? each : least), first));
}

/** Undefined: one of the containers may use what there is. */
function podMemory({ containers }: Pod['spec']): Quantity | undefined {
  let sum = 0n;
  for (const { resources } of containers) {
    const limit = resources.limits?.['memory'];
    if (limit === undefined) return undefined;
    sum += quantityOf(limit);
  }
  return sum;
}

async function isPresent(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
