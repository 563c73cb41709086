/** CPU time is told in clock ticks; on Linux there are always 100 in a second towards programs. */
const ticksPerSecond = 100;

/** Resident memory of a process, now and at most. */
export interface Memory {
  readonly residentMiB: number;
  readonly peakMiB: number;
}

/** The value below which a share of all lies (nearest rank); 0.5: the median. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  if (value === undefined) throw new TypeError('nothing was measured');
  return value;
}

/** The CPU time a process and its ended children have used, in ticks, of /proc/PID/stat. */
export function cpuTicks(stat: string): number {
  // The name, in parentheses, may hold anything; the third field follows it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [userTime, systemTime, childrenUser, childrenSystem] = fields.slice(11, 15).map(Number);
  const ticks =
    (userTime ?? NaN) + (systemTime ?? NaN) + (childrenUser ?? NaN) + (childrenSystem ?? NaN);
  if (Number.isNaN(ticks)) throw new TypeError(`not a line of /proc/PID/stat: ${stat}`);
  return ticks;
}

/** Percent of one core, from two readings of {@link cpuTicks} and the time between them. */
export function cpuPercent(before: number, after: number, seconds: number): number {
  return ((after - before) / ticksPerSecond / seconds) * 100;
}

/** Of /proc/PID/status. */
export function memory(status: string): Memory {
  return { residentMiB: mebibytes(status, 'VmRSS'), peakMiB: mebibytes(status, 'VmHWM') };
}

/** How far the share of any endpoint is from an equal one, at most: 0.01 is one percent of its share. */
export function spreadError(shares: readonly number[], endpoints: number): number {
  if (shares.length !== endpoints) return 1; // somebody has no share at all, or there is one too many
  return Math.max(...shares.map((share) => Math.abs(share * endpoints - 1)));
}

/** χ² of counts against equal ones in so many classes; classes without a count may be left out. */
export function chiSquared(counts: readonly number[], classes: number): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / classes;
  const seen = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  return seen + Math.max(0, classes - counts.length) * expected;
}

function mebibytes(status: string, field: string): number {
  const kibibytes = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  if (kibibytes === undefined) throw new TypeError(`/proc/PID/status has no ${field}`);
  return Number(kibibytes) / 1024;
}
