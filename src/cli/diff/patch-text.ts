import type { EditedPart } from './differences.ts';

/** Lines around a change. */
const context = 3;

interface PatchLine {
  readonly sign: ' ' | '-' | '+';
  readonly text: string;
}

/**
 * A unified diff from what is there to what is wanted, of texts in which each chain is declared and then lists its rules: what
 * `iptables-save` has of ours, in the order of names. A file a part; '' where nothing differs.
 */
export function patchText(family: string, parts: readonly EditedPart[]): string {
  return parts.map((part) => partText(family, part)).join('');
}

const signs = { same: ' ', missing: '+', unexpected: '-' } as const;

function partText(family: string, { name, sections }: EditedPart): string {
  const lines = sections.flatMap(({ section, edits }): readonly PatchLine[] => {
    const { wanted, found } = section;
    const sign = wanted === undefined ? '-' : found === undefined ? '+' : ' ';
    const own = edits.map(({ kind, line }) => ({ sign: signs[kind], text: line.text }));
    return [{ sign, text: `# ${section.name}` }, ...own];
  });
  const hunks = hunksOf(lines);
  if (hunks.length === 0) return '';
  const file = `${family}/${name.replaceAll(' ', '-')}`;
  return [`--- kernel/${file}`, `+++ wanted/${file}`, ...hunks, ''].join('\n');
}

function hunksOf(lines: readonly PatchLine[]): readonly string[] {
  const changed = lines.flatMap(({ sign }, i) => (sign === ' ' ? [] : [i]));
  const ranges: { first: number; last: number }[] = [];
  for (const at of changed) {
    const before = ranges.at(-1);
    if (before !== undefined && at - before.last <= 2 * context) before.last = at;
    else ranges.push({ first: at, last: at });
  }
  const counter = new LineCounter(lines);
  return ranges.map(({ first, last }) => {
    const from = Math.max(0, first - context);
    const shown = lines.slice(from, last + context + 1);
    return [
      `@@ ${counter.range('-', from, shown)} ${counter.range('+', from, shown)} @@`,
      ...shown.map(({ sign, text }) => `${sign}${text}`),
    ].join('\n');
  });
}

/** Counts the lines of both sides; asked from top to bottom. */
class LineCounter {
  readonly #lines: readonly PatchLine[];
  readonly #counted = { '-': { upTo: 0, lines: 0 }, '+': { upTo: 0, lines: 0 } };

  constructor(lines: readonly PatchLine[]) {
    this.#lines = lines;
  }

  /** `-12,7`: the line of a side at which a hunk begins, and how many it has of it. */
  range(side: '-' | '+', from: number, shown: readonly PatchLine[]): string {
    const counted = this.#counted[side];
    counted.lines += countOf(side, this.#lines.slice(counted.upTo, from));
    counted.upTo = from;
    const count = countOf(side, shown);
    // Of nothing, the line after which it would be.
    return `${side}${counted.lines + (count > 0 ? 1 : 0)},${count}`;
  }
}

function countOf(side: '-' | '+', lines: readonly PatchLine[]): number {
  return lines.filter(({ sign }) => sign === ' ' || sign === side).length;
}
