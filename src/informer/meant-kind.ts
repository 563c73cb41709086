import type { Kind, KubeObject } from './kind.ts';

type KindName = Pick<Kind<KubeObject>, 'apiVersion' | 'kind'>;

/**
 * The kind that was probably meant by one that is not known: another version of its API group, or a
 * kind of that group misspelt. Undefined where it is simply another kind: `serving.knative.dev/v1
 * Service` is none of ours, and neither is a Secret.
 */
export function meantKind(given: KindName, known: readonly KindName[]): KindName | undefined {
  const group = known.filter(({ apiVersion }) => groupOf(apiVersion) === groupOf(given.apiVersion));
  return (
    group.find(({ kind }) => kind === given.kind) ??
    group.find(({ kind }) => isMisspelt(given.kind.toLowerCase(), kind.toLowerCase()))
  );
}

/** '' for the core group. */
function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
}

/** One slip of the pen: a letter too many, too few or wrong, or two of them swapped. */
function isMisspelt(word: string, meant: string): boolean {
  const start = commonLength(word, meant, (text, i) => text[i]);
  const end = commonLength(word.slice(start), meant.slice(start), (text, i) => text.at(-1 - i));
  const wrong = word.slice(start, word.length - end);
  const right = meant.slice(start, meant.length - end);
  if (wrong.length <= 1 && right.length <= 1) return true;
  return wrong.length === 2 && wrong[0] === right[1] && wrong[1] === right[0] && right.length === 2;
}

function commonLength(
  a: string,
  b: string,
  letter: (text: string, i: number) => string | undefined,
): number {
  let length = 0;
  while (letter(a, length) !== undefined && letter(a, length) === letter(b, length)) length++;
  return length;
}
