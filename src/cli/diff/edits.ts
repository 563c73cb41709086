/** A line that stays, is missing (wanted and not there), or is there and not wanted. */
export interface Edit<T> {
  readonly kind: 'same' | 'missing' | 'unexpected';
  readonly line: T;
}

/** Lists whose product is over this are not compared in all ways: what is in both, wherever, counts as the same. */
const mostComparisons = 4_000_000;

/** The shortest way from `found` to `wanted`, what goes before what comes. */
export function edits<T extends { readonly text: string }>(
  found: readonly T[],
  wanted: readonly T[],
): readonly Edit<T>[] {
  const start = commonLength(found, wanted, (list, i) => list[i]);
  const rest = Math.min(found.length, wanted.length) - start;
  const end = Math.min(
    rest,
    commonLength(found, wanted, (list, i) => list[list.length - 1 - i]),
  );
  const same = (line: T): Edit<T> => ({ kind: 'same', line });
  return [
    ...wanted.slice(0, start).map(same),
    ...between(found.slice(start, found.length - end), wanted.slice(start, wanted.length - end)),
    ...wanted.slice(wanted.length - end).map(same),
  ];
}

function commonLength<T extends { readonly text: string }>(
  a: readonly T[],
  b: readonly T[],
  at: (list: readonly T[], i: number) => T | undefined,
): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && at(a, length)?.text === at(b, length)?.text) length++;
  return length;
}

function between<T extends { readonly text: string }>(
  found: readonly T[],
  wanted: readonly T[],
): readonly Edit<T>[] {
  if (found.length * wanted.length > mostComparisons) return bulk(found, wanted);
  const lengths = commonLengths(found, wanted);
  const list: Edit<T>[] = [];
  let [f, w] = [0, 0];
  for (;;) {
    const [line, other] = [found[f], wanted[w]];
    if (line === undefined && other === undefined) return list;
    if (line !== undefined && line.text === other?.text) {
      list.push({ kind: 'same', line: other });
      f++;
      w++;
    } else if (
      other === undefined ||
      (line !== undefined && lengths(f + 1, w) >= lengths(f, w + 1))
    ) {
      if (line !== undefined) list.push({ kind: 'unexpected', line });
      f++;
    } else {
      list.push({ kind: 'missing', line: other });
      w++;
    }
  }
}

/** How many lines are common to what follows two places, at most. */
function commonLengths<T extends { readonly text: string }>(
  a: readonly T[],
  b: readonly T[],
): (i: number, j: number) => number {
  const width = b.length + 1;
  const table = new Uint32Array((a.length + 1) * width);
  const at = (i: number, j: number): number => table[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      table[i * width + j] =
        a[i]?.text === b[j]?.text ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  return at;
}

function bulk<T extends { readonly text: string }>(
  found: readonly T[],
  wanted: readonly T[],
): readonly Edit<T>[] {
  const left = new Map<string, number>();
  for (const { text } of wanted) left.set(text, (left.get(text) ?? 0) + 1);
  const unexpected = found.filter(({ text }) => {
    const count = left.get(text) ?? 0;
    left.set(text, count - 1);
    return count <= 0;
  });
  const there = new Map<string, number>();
  for (const { text } of found) there.set(text, (there.get(text) ?? 0) + 1);
  const rest = wanted.map((line): Edit<T> => {
    const count = there.get(line.text) ?? 0;
    there.set(line.text, count - 1);
    return { kind: count > 0 ? 'same' : 'missing', line };
  });
  return [...unexpected.map((line): Edit<T> => ({ kind: 'unexpected', line })), ...rest];
}
