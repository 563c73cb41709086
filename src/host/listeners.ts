import { readFile, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

import { formatAddress } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';

/** A TCP socket of this network namespace that takes connections. */
export interface TcpListener {
  readonly address: Address;
  readonly port: number;
  /** Names the socket, to find its owner by. */
  readonly inode: number;
}

/** The state TCP_LISTEN of /proc/net/tcp. */
const listening = '0A';

/** Who listens in this network namespace, both families. */
export async function tcpListeners(proc = '/proc'): Promise<readonly TcpListener[]> {
  const read = async (name: string): Promise<string> =>
    readFile(join(proc, 'self/net', name), 'utf8').catch(() => '');
  const [v4, v6] = await Promise.all([read('tcp'), read('tcp6')]);
  return [...parseTcpTable(v4), ...parseTcpTable(v6)];
}

/** Reads /proc/net/tcp and tcp6; addresses are words in the machine's order of bytes (all machines we run on: little-endian). */
export function parseTcpTable(text: string): readonly TcpListener[] {
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    if (state !== listening) return [];
    const [address = '', port = ''] = local.split(':');
    return [{ address: wordsOf(address), port: Number.parseInt(port, 16), inode: Number(inode) }];
  });
}

/** The processes that hold some sockets, by inode. Without root: those of this user alone. */
export async function socketOwners(
  inodes: ReadonlySet<number>,
  proc = '/proc',
): Promise<ReadonlyMap<number, number>> {
  const owners = new Map<number, number>();
  if (inodes.size === 0) return owners;
  for (const entry of await readdir(proc)) {
    if (!/^\d+$/.test(entry)) continue;
    const folder = join(proc, entry, 'fd');
    for (const fd of await readdir(folder).catch(() => [])) {
      const link = await readlink(join(folder, fd)).catch(() => '');
      const inode = Number(/^socket:\[(\d+)\]$/.exec(link)?.[1] ?? -1);
      if (inodes.has(inode) && !owners.has(inode)) owners.set(inode, Number(entry));
    }
    if (owners.size === inodes.size) break;
  }
  return owners;
}

function wordsOf(hex: string): Address {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) =>
    (word.match(/../g) ?? []).toReversed().map((byte) => Number.parseInt(byte, 16)),
  );
  return formatAddress(Uint8Array.from(bytes));
}
