export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  readonly labels: Labels;
  /** undefined: it is not known, and left out. */
  readonly value: number | undefined;
  /** undefined: it is of the moment at which it is read. */
  readonly atMs: number | undefined;
}

/** One metric in the text that Prometheus reads, each sample with its own moment; nothing where no sample has a value. */
export function family(
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  samples: readonly Sample[],
): readonly string[] {
  const lines = samples.flatMap(({ labels, value, atMs }) =>
    value === undefined
      ? []
      : [`${name}${labelText(labels)} ${value}${atMs === undefined ? '' : ` ${Math.trunc(atMs)}`}`],
  );
  if (lines.length === 0) return [];
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines];
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** Names of Kubernetes hold nothing of the kind; those of images and interfaces are whatever somebody gave them. */
function escaped(text: string): string {
  return text
    .replaceAll('\\', '\\\\')
    .replaceAll('"', String.raw`\"`)
    .replaceAll('\n', '\\n');
}
