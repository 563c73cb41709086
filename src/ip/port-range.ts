/** Ports from the first to the last, both among them; 1 to 65535. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Reads a port range as kube-proxy does: `20000-20999`, `20000+999` (so many after the
 * first), or one port. `any` for an empty text, `0` and `0-0`; undefined where it is none of these.
 */
export function parsePortRange(text: string): PortRange | 'any' | undefined {
  if (text === '' || text === '0' || text === '0-0') return 'any';
  const [, start = '', sign, end = ''] = /^(\d{1,5})(?:([+-])(\d{1,5}))?$/.exec(text) ?? [];
  if (start === '') return undefined;
  const first = Number(start);
  const last = sign === '-' ? Number(end) : first + Number(end);
  return first >= 1 && first <= last && last <= 65_535 ? { first, last } : undefined;
}

/** `20000-20999`, or `20000` for one port. */
export function portRangeText({ first, last }: PortRange): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

/** The ports of some ranges that are not in the others. Sorted where `ranges` are. */
export function portsWithout(
  ranges: readonly PortRange[],
  others: readonly PortRange[],
): readonly PortRange[] {
  return others.reduce<readonly PortRange[]>(
    (left, other) =>
      left.flatMap(({ first, last }) => [
        ...(first < other.first ? [{ first, last: Math.min(last, other.first - 1) }] : []),
        ...(last > other.last ? [{ first: Math.max(first, other.last + 1), last }] : []),
      ]),
    ranges,
  );
}

/** How many ports they are, together. */
export function portCount(ranges: readonly PortRange[]): number {
  return ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
}
