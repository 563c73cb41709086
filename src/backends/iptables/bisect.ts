/** Why an attempt was refused; the culprit where the tool named it. */
export interface AttemptRefusal<T> {
  readonly words: string;
  readonly culprit: T | undefined;
}

/** An item that is refused, with the tool's words. */
export interface Refused<T> {
  readonly item: T;
  readonly words: string;
}

/**
 * Finds the items that are refused, by halving: attempts grow with the number of bad items times the
 * logarithm of all. `attempt` tries a group by itself and must not depend on other groups. A culprit that the tool
 * names is tried alone, and the rest of its group again. After `maxAttempts` whatever is still in a refused group
 * counts as refused, so that what is left is known to be good.
 */
export async function findRefused<T>(
  items: readonly T[],
  attempt: (group: readonly T[]) => Promise<AttemptRefusal<T> | undefined>,
  maxAttempts: number,
): Promise<readonly Refused<T>[]> {
  const refused: Refused<T>[] = [];
  const groups: (readonly T[])[] = items.length === 0 ? [] : [items];
  let attempts = 0;
  for (let group = groups.pop(); group !== undefined; group = groups.pop()) {
    if (attempts >= maxAttempts) {
      const words = `not tried by itself: a batch with it was refused, and ${maxAttempts} attempts were used up`;
      for (const item of group) refused.push({ item, words });
      continue;
    }
    attempts++;
    const refusal = await attempt(group);
    if (refusal === undefined) continue;
    const [only] = group;
    if (group.length > 1) groups.push(...split(group, refusal.culprit));
    else if (only !== undefined) refused.push({ item: only, words: refusal.words });
  }
  return refused;
}

/** The groups to try next, the last one first. */
function split<T>(group: readonly T[], culprit: T | undefined): readonly (readonly T[])[] {
  if (culprit !== undefined && group.includes(culprit)) {
    return [group.filter((item) => item !== culprit), [culprit]];
  }
  const middle = Math.ceil(group.length / 2);
  return [group.slice(middle), group.slice(0, middle)];
}
