const named: Readonly<Record<string, string>> = {
  '\u0007': String.raw`\a`,
  '\b': String.raw`\b`,
  '\f': String.raw`\f`,
  '\n': String.raw`\n`,
  '\r': String.raw`\r`,
  '\t': String.raw`\t`,
  '\v': String.raw`\v`,
  '"': String.raw`\"`,
  '\\': String.raw`\\`,
};

/** Letters, marks, numbers, punctuation, symbols and the plain space: what Go prints as it is. */
const printed = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

/** A text in quotes, as Go's `%q` has it: what the files of the downward API are read by. */
export function goQuoted(text: string): string {
  return `"${Array.from(text, escaped).join('')}"`;
}

function escaped(character: string): string {
  const own = named[character];
  if (own !== undefined) return own;
  if (printed.test(character)) return character;
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x20 || code === 0x7f) return `\\x${hex(code, 2)}`;
  // half of a pair
  if (code >= 0xd800 && code <= 0xdfff) return String.raw`\ufffd`;
  return code < 0x1_0000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, '0');
}
