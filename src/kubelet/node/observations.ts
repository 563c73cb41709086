import type { EvictionSignal } from '../../config/eviction-config.ts';
import type { NodeReadings } from './node-readings.ts';

/** How much there is of something, of how much; in bytes or pieces. */
export interface Observation {
  readonly available: number;
  readonly capacity: number;
}

/** What of a node is known; a signal that could not be read, or reads as nonsense, is left out: nobody is evicted for it. */
export type Observations = ReadonlyMap<EvictionSignal, Observation>;

/** A condition of the node. */
export type Pressure = 'MemoryPressure' | 'DiskPressure' | 'PIDPressure';

/** What is short, in the words of a pod's status. */
export type Resource = 'memory' | 'ephemeral-storage' | 'inodes' | 'pids';

interface Meaning {
  readonly pressure: Pressure;
  readonly resource: Resource;
}

/** By signal. */
export const meaningOf: Readonly<Record<EvictionSignal, Meaning>> = {
  'memory.available': { pressure: 'MemoryPressure', resource: 'memory' },
  'nodefs.available': { pressure: 'DiskPressure', resource: 'ephemeral-storage' },
  'nodefs.inodesFree': { pressure: 'DiskPressure', resource: 'inodes' },
  'imagefs.available': { pressure: 'DiskPressure', resource: 'ephemeral-storage' },
  'imagefs.inodesFree': { pressure: 'DiskPressure', resource: 'inodes' },
  'pid.available': { pressure: 'PIDPressure', resource: 'pids' },
};

/** What readings of the node say of each signal. */
export function observe(readings: Omit<NodeReadings, 'problems'>): Observations {
  const { memory, disk, imageDisk, processes } = readings;
  const found = new Map<EvictionSignal, Observation>();
  const add = (signal: EvictionSignal, available?: number, capacity?: number): void => {
    if (available === undefined || capacity === undefined) return;
    if (capacity > 0 && available >= 0 && available <= capacity)
      found.set(signal, { available, capacity });
  };
  add('memory.available', memory?.available, memory?.total);
  add('nodefs.available', disk?.availableBytes, disk?.bytes);
  add('nodefs.inodesFree', disk?.freeInodes, disk?.inodes);
  add('imagefs.available', imageDisk?.availableBytes, imageDisk?.bytes);
  add('imagefs.inodesFree', imageDisk?.freeInodes, imageDisk?.inodes);
  if (processes !== undefined)
    add('pid.available', Math.max(0, processes.most - processes.now), processes.most);
  return found;
}
