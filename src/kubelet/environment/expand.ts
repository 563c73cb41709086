/** The value of a variable; undefined: there is none of this name. */
export type Lookup = (name: string) => string | undefined;

/**
 * Replaces `$(NAME)` by the variable's value, once: values are not read again. `$$` is a `$`, so that `$$(NAME)` stays a literal
 * `$(NAME)`. What is unknown, unclosed or no `$(` stays as it is (spec 8.3).
 */
export function expand(text: string, lookup: Lookup): string {
  // after the last bracket none is closed: a regular expression would look for one from each `$(`, to the end
  const open = text.lastIndexOf(')') + 1;
  const closed = text.slice(0, open).replaceAll(reference, (found, name: string | undefined) => {
    if (found === '$$') return '$';
    return name === undefined ? found : (lookup(name) ?? found);
  });
  return closed + text.slice(open).replaceAll('$$', () => '$');
}

/** As {@link expand}, for a `subPathExpr`: also tells the first variable that is not there. */
export function expandStrictly(
  text: string,
  lookup: Lookup,
): { readonly text: string } | { readonly missing: string } {
  const missing: string[] = [];
  const expanded = expand(text, (name) => {
    const value = lookup(name);
    if (value === undefined) missing.push(name);
    return value;
  });
  const [first] = missing;
  return first === undefined ? { text: expanded } : { missing: first };
}

const reference = /\$\$|\$\((?<name>[^)]*)\)/g;
