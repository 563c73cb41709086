/** Does the work for all items, so many at a time; answers in the order of the items. */
export async function inTurns<T, R>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results = new Map<number, R>();
  const queue = items.entries();
  const worker = async (): Promise<void> => {
    for (const [n, item] of queue) results.set(n, await work(item));
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return items.map((_, n) => results.get(n) as R);
}
