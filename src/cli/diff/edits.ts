/** A line that stays, is missing (wanted and not there), or is there and not wanted. */
export interface Edit<T> {
  readonly kind: 'same' | 'missing' | 'unexpected';
  readonly line: T;
}

/** Lists whose product is over this are not compared in all ways: of a line that is there several times the first goes with the first, and so on. */
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
  if (found.length * wanted.length > mostComparisons) return inOrder(found, wanted);
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

/** What stays is the longest part of both that is in the same order. */
function inOrder<T extends { readonly text: string }>(
  found: readonly T[],
  wanted: readonly T[],
): readonly Edit<T>[] {
  const places = new Map<string, number[]>();
  for (const [i, { text }] of wanted.entries()) {
    const same = places.get(text);
    if (same === undefined) places.set(text, [i]);
    else same.push(i);
  }
  for (const same of places.values()) same.reverse();
  const placeOf = found.map(({ text }) => places.get(text)?.pop());
  const kept = longestRising(placeOf);
  const list: Edit<T>[] = [];
  const upTo = (place: number): readonly Edit<T>[] =>
    wanted.slice(next, place).map((line) => ({ kind: 'missing', line }));
  let next = 0;
  for (const [i, line] of found.entries()) {
    const place = placeOf[i];
    const other = place !== undefined && kept.has(place) ? wanted[place] : undefined;
    if (place === undefined || other === undefined) {
      list.push({ kind: 'unexpected', line });
      continue;
    }
    list.push(...upTo(place), { kind: 'same', line: other });
    next = place + 1;
  }
  return [...list, ...upTo(wanted.length)];
}

/** Of different numbers, as many as can be that rise from left to right. */
function longestRising(numbers: readonly (number | undefined)[]): ReadonlySet<number> {
  const ends: number[] = [];
  const before = new Map<number, number | undefined>();
  for (const number of numbers) {
    if (number === undefined) continue;
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((ends[middle] ?? 0) < number) low = middle + 1;
      else high = middle;
    }
    before.set(number, ends[low - 1]);
    ends[low] = number;
  }
  const kept = new Set<number>();
  for (let at = ends.at(-1); at !== undefined; at = before.get(at)) kept.add(at);
  return kept;
}
