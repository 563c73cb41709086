import { SwitchyardError } from '../../error.ts';

/** The value of a variable; undefined: there is none of this name. */
export type Lookup = (name: string) => string | undefined;

/** What Linux takes of one argument or variable (MAX_ARG_STRLEN, binfmts.h), in bytes. */
const longestBytes = 131_072;

/**
 * Replaces `$(NAME)` by the variable's value, once: values are not read again. `$$` is a `$`, so that `$$(NAME)` stays a literal
 * `$(NAME)`. What is unknown, unclosed or no `$(` stays as it is (`EnvVar.value` of the API). Throws where values make the text longer than
 * any program can be given: thirty variables that each name the one before twice would be a gigabyte.
 */
export function expand(text: string, lookup: Lookup): string {
  // after the last bracket none is closed: a regular expression would look for one from each `$(`, to the end
  const open = text.lastIndexOf(')') + 1;
  let grown = text.length;
  const closed = text.slice(0, open).replaceAll(reference, (found, name: string | undefined) => {
    if (found === '$$') return '$';
    const value = name === undefined ? undefined : lookup(name);
    if (value === undefined) return found;
    grown += value.length - found.length;
    if (grown > longestBytes && grown > text.length) throw tooLong(text);
    return value;
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

function tooLong(text: string): SwitchyardError {
  const begin = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  return new SwitchyardError(
    'object',
    `with its variables, "${begin}" is longer than the ${longestBytes} bytes that the kernel takes`,
  );
}
