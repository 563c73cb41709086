/** Prints a Markdown table, so that what a run prints can stand in docs/performance.md. */
export function printTable(
  title: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): void {
  const widths = head.map((cell, i) =>
    Math.max(cell.length, ...rows.map((row) => (row[i] ?? '').length)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |\n`;
  process.stdout.write(
    `\n**${title}**\n\n${line(head)}${line(widths.map((width) => '-'.repeat(width)))}`,
  );
  process.stdout.write(rows.map(line).join(''));
}

export function seconds(value: number): string {
  return value < 10 ? `${value.toFixed(2)} s` : `${value.toFixed(0)} s`;
}

/** How many times faster than the baseline. */
export function ratio(baseline: number | undefined, own: number): string {
  return baseline === undefined ? '–' : `${(baseline / own).toFixed(1)}×`;
}
