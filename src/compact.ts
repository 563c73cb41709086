const nothing: readonly never[] = Object.freeze([]);

/**
 * The list without room to grow: what push, filter and flatMap leave behind them has room for 17 items,
 * and an empty list is an object of its own. For lists that are kept, by the ten thousand.
 */
export function compact<T>(list: readonly T[]): readonly T[] {
  return list.length === 0 ? nothing : list.slice();
}
