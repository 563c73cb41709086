import type { Answer } from './actor.ts';

/** How many requests each pod answered, and how many nobody did. */
export interface Tally {
  readonly byPod: ReadonlyMap<string, number>;
  readonly failed: number;
}

/** Counts answers; pods in the order of their names. */
export function tally(answers: readonly Answer[]): Tally {
  const counts = new Map<string, number>();
  let failed = 0;
  for (const answer of answers) {
    if (typeof answer === 'string') failed++;
    else counts.set(answer.answeredBy, (counts.get(answer.answeredBy) ?? 0) + 1);
  }
  const byPod = new Map([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return { byPod, failed };
}

const barWidth = 40;
const codes = { bold: 1, dim: 2, red: 31, green: 32, cyan: 36 } as const;

/** Prints the demo: one numbered chapter after another, in colour where the terminal wants it. */
export class Story {
  readonly #print: (text: string) => void;
  readonly #colour: boolean;
  readonly #problems: string[] = [];
  #chapter = 0;

  constructor(print: (text: string) => void, colour: boolean) {
    this.#print = print;
    this.#colour = colour;
  }

  /** What did not come out as it should. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  title(text: string): void {
    this.#print(`\n${this.#paint('bold', text)}\n`);
  }

  chapter(text: string): void {
    this.#chapter++;
    this.#print(`\n${this.#paint('cyan', `${this.#chapter}.`)} ${this.#paint('bold', text)}\n`);
  }

  line(text: string): void {
    this.#print(`   ${text}\n`);
  }

  note(text: string): void {
    this.#print(`   ${this.#paint('dim', text)}\n`);
  }

  /** States a result; a false one makes the demo fail, and `instead` says what was seen. */
  check(holds: boolean, text: string, instead: string): void {
    if (holds) {
      this.#print(`   ${this.#paint('green', '✓')} ${text}\n`);
      return;
    }
    this.#problems.push(`${text}: ${instead}`);
    this.#print(`   ${this.#paint('red', '✗')} ${text}: ${instead}\n`);
  }

  bars({ byPod, failed }: Tally): void {
    const rows = [...byPod, ...(failed > 0 ? [['no answer', failed] as const] : [])];
    for (const line of barChart(rows)) this.#print(`   ${this.#paintBar(line)}\n`);
  }

  #paintBar(line: string): string {
    return line.replace(/\u2588+/, (bar) => this.#paint('green', bar));
  }

  #paint(colour: keyof typeof codes, text: string): string {
    return this.#colour ? `\u001B[${codes[colour]}m${text}\u001B[0m` : text;
  }
}

/** One line a row: name, a bar for its share of the whole, count and percentage. */
export function barChart(rows: readonly (readonly [string, number])[]): readonly string[] {
  const total = rows.reduce((sum, [, count]) => sum + count, 0);
  const width = Math.max(0, ...rows.map(([name]) => name.length));
  return rows.map(([name, count]) => {
    const share = total === 0 ? 0 : count / total;
    const bar = '█'.repeat(Math.max(count > 0 ? 1 : 0, Math.round(share * barWidth)));
    return `${name.padEnd(width)}  ${bar} ${count} (${Math.round(share * 100)} %)`;
  });
}

/** An answer in words. */
export function answerText(answer: Answer): string {
  return typeof answer === 'string'
    ? answer
    : `${answer.answeredBy}, which saw ${answer.sourceSeen}`;
}
