/** A line of a container's log as CRI has it: `2026-01-02T03:04:05.6Z stdout F text` (design proposal kubelet-cri-logging). */
export interface LogLine {
  /** As written. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** More of the same line follows. */
  readonly isPartial: boolean;
  readonly content: Buffer;
}

const space = 0x20;

/** undefined: no such line. `bytes` without the line feed. */
export function parseLogLine(bytes: Buffer): LogLine | undefined {
  const timeEnd = bytes.indexOf(space);
  const streamEnd = bytes.indexOf(space, timeEnd + 1);
  const tagEnd = bytes.indexOf(space, streamEnd + 1);
  if (timeEnd < 1 || streamEnd < 0) return undefined;
  const stream = bytes.toString('latin1', timeEnd + 1, streamEnd);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const tags = bytes.toString('latin1', streamEnd + 1, tagEnd < 0 ? bytes.length : tagEnd);
  return {
    time: bytes.toString('latin1', 0, timeEnd),
    stream,
    isPartial: tags.split(':')[0] === 'P',
    content: tagEnd < 0 ? bytes.subarray(bytes.length) : bytes.subarray(tagEnd + 1),
  };
}

/** Nanoseconds since the epoch; undefined: no date. */
export function parseLogTime(text: string): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (match === null) return undefined;
  const [, date = '', fraction = '', zone = ''] = match;
  const ms = Date.parse(`${date}${zone}`);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}
