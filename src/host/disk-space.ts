import { stat, statfs } from 'node:fs/promises';

/** What a file system has, in bytes and files. */
export interface DiskSpace {
  readonly bytes: number;
  /** Without what is kept for root. */
  readonly availableBytes: number;
  /** 0: the file system does not count them. */
  readonly inodes: number;
  readonly freeInodes: number;
}

/** The same, and what of it is in use: what is kept for root is neither that nor available. */
export interface FilledSpace extends DiskSpace {
  readonly usedBytes: number;
}

/** The space of the file system that a path is on. */
export async function readDiskSpace(path: string): Promise<FilledSpace> {
  const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path);
  return {
    bytes: bsize * blocks,
    availableBytes: bsize * bavail,
    usedBytes: bsize * (blocks - bfree),
    inodes: files,
    freeInodes: ffree,
  };
}

/** What of a path tells which disk it is on. */
export interface DiskPlace {
  readonly device: number;
  readonly space: DiskSpace;
}

/** Others write meanwhile: what two subvolumes share may change between two looks at it. */
const looks = 3;

/**
 * Whether what is freed at one path is no room at the other. Two devices say so, unless they have the same space: subvolumes of one btrfs have
 * a device number each.
 */
export async function areOnTwoDisks(
  one: string,
  other: string,
  look: (path: string) => Promise<DiskPlace> = readPlace,
): Promise<boolean> {
  for (let i = 0; i < looks; i++) {
    const [a, b] = await Promise.all([look(one), look(other)]);
    if (a.device === b.device || isSameSpace(a.space, b.space)) return false;
    if (a.space.bytes !== b.space.bytes) return true;
  }
  return true;
}

async function readPlace(path: string): Promise<DiskPlace> {
  const [{ dev: device }, space] = await Promise.all([stat(path), readDiskSpace(path)]);
  return { device, space };
}

function isSameSpace(a: DiskSpace, b: DiskSpace): boolean {
  return a.bytes === b.bytes && a.availableBytes === b.availableBytes && a.inodes === b.inodes;
}
