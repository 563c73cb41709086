import type { Difference, RuleInFront } from './differences.ts';

/** Differences for people: by part, each with the service port it is for. */
export function listText(
  title: string,
  differences: readonly Difference[],
  inFront: readonly RuleInFront[] = [],
): string {
  return `${[...differenceLines(title, differences), ...frontLines(inFront)].join('\n')}\n`;
}

/** Rules of others may be meant to come first, so that they are no differences. */
function frontLines(inFront: readonly RuleInFront[]): readonly string[] {
  if (inFront.length === 0) return [];
  const list = inFront.map(({ part, rule }) => `    ${part.padEnd(partWidth)}  ${rule}`);
  return ['  rules of others that may decide before ours', ...list];
}

function differenceLines(title: string, differences: readonly Difference[]): readonly string[] {
  if (differences.length === 0) return [`${title}: as wanted`];
  const count = `${differences.length} difference${differences.length === 1 ? '' : 's'}`;
  const lines = [`${title}: ${count}`];
  const width = Math.max(...differences.map(({ object }) => (object ?? '-').length));
  for (const [part, list] of Map.groupBy(differences, (each) => each.part)) {
    lines.push(`  ${part}`);
    for (const each of list) lines.push(...rows(each, width));
  }
  return lines;
}

const kindWidth = 'unexpected'.length;
const partWidth = 'filter'.length;

function rows(
  { kind, object, where, wanted, found, lines }: Difference,
  width: number,
): readonly string[] {
  const head = `    ${kind.padEnd(kindWidth)}  ${(object ?? '-').padEnd(width)}  `;
  if (wanted === where || found === where)
    return [`${head}${where} (${lines} line${lines === 1 ? '' : 's'})`];
  const first = `${head}${wanted ?? found ?? ''}`;
  if (kind !== 'different') return [first];
  return [first, `    ${'there is'.padEnd(kindWidth)}  ${''.padEnd(width)}  ${found ?? ''}`];
}
