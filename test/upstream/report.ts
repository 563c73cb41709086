import type { Comparison, Difference } from './compare.ts';
import type { HealthComparison } from './health.ts';

/** Differences that are not listed: one cause makes hundreds. */
const shown = 60;
const healthCheck = 'health check node port, HTTP';

/** What a run found, for people. */
export class Report {
  readonly #title: string;
  readonly #asked = new Map<string, number>();
  readonly #rows = new Map<string, { packets: number; rules: number }>();
  readonly #notAsked: string[] = [];
  readonly #bundles = new Set<string>();
  readonly #unlisted: string[] = [];
  #objects = 0;
  #past = 0;
  #askedAgain = 0;
  #meanings = 0;

  constructor(title: string) {
    this.#title = title;
  }

  services(count: number): void {
    this.#objects += count;
  }

  /** Answers of health check node ports. */
  health({ asked, differences }: HealthComparison): void {
    if (asked > 0) this.#asked.set(healthCheck, (this.#asked.get(healthCheck) ?? 0) + asked);
    for (const { text, row } of differences) this.#count('packets', row, text);
  }

  /** Questions of a pod that would have answered itself. */
  past(count: number): void {
    this.#past += count;
  }

  notAsked(what: string): void {
    this.#notAsked.push(what);
  }

  /** Answers to real packets; `row` names the row a difference is listed in. */
  answers(comparison: Comparison, row: (difference: Difference) => string | undefined): void {
    this.#askedAgain += comparison.askedAgain;
    for (const { bundle, frontend, proto, family } of comparison.questions) {
      this.#bundles.add(bundle);
      const kind = `${frontend}, ${proto}, ${family}`;
      this.#asked.set(kind, (this.#asked.get(kind) ?? 0) + 1);
    }
    for (const difference of comparison.differences) this.#add('packets', difference, row);
  }

  /** What rules mean, by the simulator. */
  meaning(
    questions: number,
    differences: readonly Difference[],
    row: (difference: Difference) => string | undefined,
  ): void {
    this.#meanings += questions;
    for (const difference of differences) this.#add('rules', difference, row);
  }

  /** Whether anything of a bundle was asked. */
  asked(bundle: string): boolean {
    return this.#bundles.has(bundle);
  }

  get unlisted(): readonly string[] {
    return this.#unlisted;
  }

  /** Rows of docs/differences.md that were seen in answers. */
  get seenRows(): readonly string[] {
    return [...this.#rows].filter(([, { packets }]) => packets > 0).map(([row]) => row);
  }

  get questions(): number {
    return this.#asked.values().reduce((sum, n) => sum + n, 0);
  }

  text(): string {
    const asked = [...this.#asked].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const rows = [...this.#rows].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return [
      `── ${this.#title}: ${this.#objects} services, ${this.questions} questions to each proxy, ${this.#meanings} asked of upstream's rules`,
      ...asked.map(([kind, n]) => `  ${String(n).padStart(7)}  ${kind}`),
      `  asked again, and then alike: ${this.#askedAgain - this.#unlistedPackets()}`,
      'differences that are listed (answers, rules):',
      ...rows.map(
        ([row, { packets, rules }]) =>
          `  ${String(packets).padStart(7)} ${String(rules).padStart(7)}  ${row}`,
      ),
      `differences that are not: ${this.#unlisted.length}`,
      ...this.#unlisted.slice(0, shown).map((text) => `  ${text}`),
      ...(this.#notAsked.length > 0 ? ['not asked:'] : []),
      ...this.#notAsked.map((text) => `  ${text}`),
      ...(this.#past > 0
        ? [`  ${this.#past} questions of a pod that has the endpoint's address as its second one`]
        : []),
      '',
    ].join('\n');
  }

  #unlistedPackets(): number {
    return this.#unlisted.filter((text) => text.startsWith('packets')).length;
  }

  #add(
    what: 'packets' | 'rules',
    difference: Difference,
    rowOf: (difference: Difference) => string | undefined,
  ): void {
    this.#count(what, rowOf(difference), differenceText(difference));
  }

  #count(what: 'packets' | 'rules', row: string | undefined, text: string): void {
    if (row === undefined) {
      this.#unlisted.push(`${what}: ${text}`);
      return;
    }
    const counts = this.#rows.get(row) ?? { packets: 0, rules: 0 };
    counts[what]++;
    this.#rows.set(row, counts);
  }
}

/** `random-3: pod-a 10.244.0.5 → 10.100.1.7:80/tcp (cluster IP): interpret …, Switchyard …, upstream …` */
function differenceText({ question, wanted, ours, theirs }: Difference): string {
  const { bundle, service, actor, source, to, port, proto, frontend } = question;
  return (
    `${bundle} ${service}: ${actor} ${source} → ${to} ${port}/${proto} (${frontend}): ` +
    `interpret [${wanted.join(', ')}], Switchyard [${ours.join(', ')}], upstream [${theirs.join(', ')}]`
  );
}
