/**
 * Names end up in rule comments, drawings and logs, and not every source is an API server that has
 * checked them: a name that is none must never get that far.
 */

const label = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/;

/** What is wrong with a namespace or the name of a port (RFC 1123 label); undefined where nothing is. */
export function labelProblem(text: string): string | undefined {
  if (label.test(text) && text.length <= 63) return undefined;
  return `expected at most 63 of a-z, 0-9 and '-', an alphanumeric first and last, got ${shown(text)}`;
}

/** What is wrong with the name of an object (RFC 1123 subdomain); undefined where nothing is. */
export function objectNameProblem(text: string): string | undefined {
  if (text.split('.').every((part) => label.test(part)) && text.length <= 253) return undefined;
  return `expected at most 253 of a-z, 0-9, '-' and '.', an alphanumeric first and last in each part, got ${shown(text)}`;
}

/** Quoted, so that control characters do not reach a terminal. */
function shown(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
