/** Things by the words of a rule. A word of the rule may be one that every object of JavaScript knows, such as `constructor`. */
export function named<T>(things: Readonly<Record<string, T>>): ReadonlyMap<string, T> {
  return new Map(Object.entries(things));
}
