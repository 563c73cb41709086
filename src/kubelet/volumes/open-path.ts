import type { FileHandle } from 'node:fs/promises';
import process from 'node:process';

/** Opens what a path names and nothing of what is in it: also a socket, a device or a link (open(2)); Node has no name for it. */
export const O_PATH = 0x20_0000;

/** Names what is open, for this process and for those that it starts. */
export function pathOf(handle: FileHandle): string {
  return `/proc/${process.pid}/fd/${handle.fd}`;
}
