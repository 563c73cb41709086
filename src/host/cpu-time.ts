import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Ticks of the kernel's counters in /proc a second, on every architecture that Linux has. */
const ticksPerSecond = 100;

/** For how long the CPUs of this machine have worked since it started, in seconds; undefined: not known. */
export async function readCpuSeconds(proc = '/proc'): Promise<number | undefined> {
  const text = await readFile(join(proc, 'stat'), 'utf8').catch(() => '');
  const counters = /^cpu +(.+)$/m.exec(text)?.[1]?.split(' ').map(Number);
  if (counters === undefined) return undefined;
  // guest time is part of user time; idle and iowait are no work
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = counters;
  return (user + nice + system + irq + softirq + steal) / ticksPerSecond;
}
