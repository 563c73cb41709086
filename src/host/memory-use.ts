import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readMeminfo } from './meminfo.ts';

/** Memory of the whole machine, in bytes. */
export interface MemoryUse {
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** With what the kernel can take back at once. */
  readonly availableBytes: number;
  /** Of processes, without files. */
  readonly anonymousBytes: number;
  /** Swap in use, and there in all. */
  readonly swapBytes: number;
  readonly swapTotalBytes: number;
  readonly pageFaults: number;
  readonly majorPageFaults: number;
}

/** undefined: the kernel does not say it. */
export async function readMemoryUse(proc = '/proc'): Promise<MemoryUse | undefined> {
  const bytesOf = await readMeminfo(proc);
  const events = await readFile(join(proc, 'vmstat'), 'utf8').catch(() => '');
  const bytes = (name: string): number => bytesOf(name) ?? 0;
  const totalBytes = bytes('MemTotal');
  if (totalBytes === 0) return undefined;
  return {
    totalBytes,
    freeBytes: bytes('MemFree'),
    availableBytes: bytes('MemAvailable'),
    anonymousBytes: bytes('AnonPages'),
    swapBytes: bytes('SwapTotal') - bytes('SwapFree'),
    swapTotalBytes: bytes('SwapTotal'),
    pageFaults: numberAt(events, 'pgfault'),
    majorPageFaults: numberAt(events, 'pgmajfault'),
  };
}

/** 0: it is not there. */
function numberAt(text: string, name: string): number {
  return Number(new RegExp(`^${name}\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
}
