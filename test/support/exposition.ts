/** A metric as Prometheus' text has it. */
export interface ExposedMetric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  /** Of all its series; without `le`. */
  readonly labels: ReadonlySet<string>;
  /** Upper edges of a histogram's buckets, ascending; empty for other types. */
  readonly edges: readonly number[];
  readonly series: number;
}

/** A difference that is meant. */
export interface KnownDifference {
  /** Names of metrics. */
  readonly metrics: RegExp;
  readonly reason: string;
}

/** Prometheus' text format, version 0.0.4, by the name of the metric. Throws on a line that is none of it. */
export function parseExposition(text: string): ReadonlyMap<string, ExposedMetric> {
  const found = new Map<string, Gathered>();
  const gathered = (name: string): Gathered => {
    const metric = found.get(name) ?? new Gathered(name);
    found.set(name, metric);
    return metric;
  };
  for (const line of text.split('\n')) {
    const [, keyword, name = '', rest = ''] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? [];
    if (keyword === 'HELP') gathered(name).help = rest;
    else if (keyword === 'TYPE') gathered(name).type = rest;
    else if (line !== '' && !line.startsWith('#')) addSample(found, line);
  }
  return found;
}

class Gathered implements ExposedMetric {
  readonly name: string;
  type = 'untyped';
  help = '';
  readonly labels = new Set<string>();
  readonly #edges = new Set<number>();
  series = 0;

  constructor(name: string) {
    this.name = name;
  }

  get edges(): readonly number[] {
    return [...this.#edges].toSorted((a, b) => a - b);
  }

  add(labels: ReadonlyMap<string, string>): void {
    this.series++;
    for (const [name, value] of labels) {
      if (name === 'le')
        this.#edges.add(value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value));
      else this.labels.add(name);
    }
  }
}

function addSample(found: ReadonlyMap<string, Gathered>, line: string): void {
  const [, name = '', , labels = ''] =
    /^([a-zA-Z_:][\w:]*)(\{(.*)\})? \S+( \d+)?$/.exec(line) ?? [];
  const of = found.get(name) ?? found.get(name.replace(/_(?:bucket|sum|count)$/, ''));
  if (of === undefined) throw new Error(`no metric: ${line}`);
  of.add(
    new Map(
      [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = '', value = '']) => [
        label,
        value,
      ]),
    ),
  );
}

/**
 * What dashboards made for `theirs` would miss in `ours`: metrics, their types, labels and buckets. A known difference that
 * does not show is told too.
 */
export function whatIsMissing(
  ours: ReadonlyMap<string, ExposedMetric>,
  theirs: ReadonlyMap<string, ExposedMetric>,
  known: readonly KnownDifference[],
): readonly string[] {
  const shown = new Set<KnownDifference>();
  const missing = [...theirs.values()].flatMap((metric) => {
    const what = difference(ours.get(metric.name), metric);
    if (what === undefined) return [];
    const excuse = known.find(({ metrics }) => metrics.test(metric.name));
    if (excuse === undefined) return [`${metric.name}: ${what}`];
    shown.add(excuse);
    return [];
  });
  const stale = known.filter((each) => !shown.has(each));
  return [...missing, ...stale.map(({ metrics }) => `${metrics.source}: no difference any more`)];
}

function difference(ours: ExposedMetric | undefined, theirs: ExposedMetric): string | undefined {
  if (ours === undefined) return 'is not there';
  if (ours.type !== theirs.type) return `is a ${ours.type}, and there a ${theirs.type}`;
  if (theirs.series === 0 || ours.series === 0) return undefined;
  const [own, other] = [ours.labels, theirs.labels].map((labels) =>
    [...labels].toSorted().join(' '),
  );
  if (own !== other) return `has the labels ${own}, and there ${other}`;
  const [ownEdges, otherEdges] = [ours.edges.join(' '), theirs.edges.join(' ')];
  return ownEdges === otherEdges
    ? undefined
    : `has the buckets ${ownEdges}, and there ${otherEdges}`;
}
