import type { Clock } from '../clock.ts';

/** What a view is shown on. */
export interface Screen {
  readonly write: (text: string) => void;
  /** Lines and columns; undefined where they are not known. */
  readonly size: () => { readonly rows: number; readonly columns: number } | undefined;
}

export interface LiveView {
  readonly clock: Clock;
  readonly screen: Screen;
  readonly intervalMs: number;
  /** What is to be seen now. */
  readonly render: () => Promise<string>;
}

const escape = '\u001B[';
/** The other screen of the terminal, so that what was there before comes back. */
const enter = `${escape}?1049h${escape}?25l`;
const leave = `${escape}?25h${escape}?1049l`;

/**
 * Shows what changes, in place: each line is overwritten and what is left of it cleared, so that nothing flickers. Ends when
 * `signal` aborts; the terminal is then as it was before.
 */
export async function showLive(
  { clock, screen, intervalMs, render }: LiveView,
  signal: AbortSignal,
): Promise<void> {
  screen.write(enter);
  try {
    while (!signal.aborted) {
      screen.write(frame(await render(), screen.size()));
      await clock.sleep(intervalMs, signal);
    }
  } finally {
    screen.write(leave);
  }
}

/** From the first line of the screen on; what does not fit is cut off, for a line that wraps would move all after it. */
function frame(text: string, size: ReturnType<Screen['size']>): string {
  const { rows, columns } = size ?? { rows: 24, columns: 80 };
  const lines = text.trimEnd().split('\n');
  const shown = lines.slice(0, rows);
  if (lines.length > rows) shown[rows - 1] = `… ${lines.length - rows + 1} more lines`;
  const cut = shown.map((line) => fitted(line, columns));
  return `${escape}H${cut.map((line) => `${line}${escape}K`).join('\n')}${escape}J`;
}

function fitted(line: string, columns: number): string {
  const characters = Array.from(line);
  return characters.length > columns ? `${characters.slice(0, columns - 1).join('')}…` : line;
}
