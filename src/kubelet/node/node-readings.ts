import { areOnTwoDisks, readDiskSpace, readProcessCount } from '../../host/disk-space.ts';
import { readMemory } from '../../host/machine-memory.ts';
import type { NodeReadings } from './node-conditions.ts';

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
