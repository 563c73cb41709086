import { areOnTwoDisks, readDiskSpace } from '../../host/disk-space.ts';
import type { DiskSpace } from '../../host/disk-space.ts';
import { readProcessCount } from '../../host/process-count.ts';
import type { ProcessCount } from '../../host/process-count.ts';
import { readMemory } from '../../host/machine-memory.ts';

/** What the judgement on a node is made of; what could not be read presses nobody. */
export interface NodeReadings {
  readonly memory: { readonly total: number; readonly available: number } | undefined;
  readonly disk: DiskSpace | undefined;
  /** Where images are. */
  readonly imageDisk: DiskSpace | undefined;
  /** Whether that is another disk; false where it is not known. */
  readonly hasImageDisk?: boolean;
  readonly processes: ProcessCount | undefined;
  /** Why the node is not ready; none: it is. */
  readonly problems: readonly string[];
}

/**
 * Reads what presses a node: the file system of `rootDir`, the kubelet's own folder, and that of `imageFolder`, where the runtime has
 * said which it is.
 */
export async function readNode(
  rootDir: string,
  imageFolder?: string,
): Promise<Omit<NodeReadings, 'problems'>> {
  const [{ total, available }, disk, imageDisk, hasImageDisk, processes] = await Promise.all([
    readMemory(),
    readDiskSpace(rootDir).catch(() => undefined),
    imageFolder === undefined ? undefined : readDiskSpace(imageFolder).catch(() => undefined),
    imageFolder !== undefined && areOnTwoDisks(rootDir, imageFolder).catch(() => false),
    readProcessCount(),
  ]);
  const memory = total === undefined || available === undefined ? undefined : { total, available };
  return { memory, disk, imageDisk, hasImageDisk, processes };
}
