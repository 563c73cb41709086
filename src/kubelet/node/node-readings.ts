import { readDiskSpace, readProcessCount } from '../../host/disk-space.ts';
import { readMemory } from '../../host/machine-memory.ts';
import type { NodeReadings } from './node-conditions.ts';

/** Reads what presses a node. `rootDir`: the kubelet's own folder, whose file system counts. */
export async function readNode(rootDir: string): Promise<Omit<NodeReadings, 'problems'>> {
  const [{ total, available }, disk, processes] = await Promise.all([
    readMemory(),
    readDiskSpace(rootDir).catch(() => undefined),
    readProcessCount(),
  ]);
  const memory = total === undefined || available === undefined ? undefined : { total, available };
  return { memory, disk, processes };
}
