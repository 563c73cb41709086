import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const page = join(import.meta.dirname, '../../docs/metrics.md');

/** Those of the runtime that alerts and dashboard ask for. */
export const runtimeMetrics: readonly string[] = [
  'process_cpu_seconds_total',
  'process_open_fds',
  'process_max_fds',
  'process_resident_memory_bytes',
  'process_start_time_seconds',
];

/** What Prometheus itself adds to a series, and the chart's monitors. */
const added = ['job', 'instance', 'node'];

/** The labels of all series of the proxy by name: those of docs/metrics.md, where a histogram has three, and the runtime's. */
export function knownMetrics(): ReadonlyMap<string, ReadonlySet<string>> {
  const plain = new Set(added);
  const names = new Map(['up', ...runtimeMetrics].map((name) => [name, plain]));
  const [ofProxy = ''] = readFileSync(page, 'utf8').split('<!-- kubelet-metrics -->');
  const rows = ofProxy.matchAll(/^\| `(?<name>\w+)` \| (?<type>\w+) \| (?<labels>[^|]*) \|/gm);
  for (const { groups } of rows) {
    const { name = '', type, labels = '' } = groups ?? {};
    const own = new Set([...added, ...(labels.match(/\w+/g) ?? [])]);
    if (type !== 'histogram') names.set(name, own);
    else for (const end of ['sum', 'count']) names.set(`${name}_${end}`, own);
    if (type === 'histogram') names.set(`${name}_bucket`, new Set([...own, 'le']));
  }
  return names;
}

/** Metrics and labels that an expression of PromQL asks for and the agent does not have. */
export function unknownIn(expression: string): readonly string[] {
  const known = knownMetrics();
  const names = metricsOf(expression);
  const labels = names.map((name) => known.get(name) ?? new Set<string>());
  const isKnown = (label: string): boolean => labels.some((each) => each.has(label));
  return [
    ...names.filter((name) => !known.has(name)),
    ...labelsOf(expression).filter((label) => !isKnown(label)),
  ];
}

/** The labels that an expression selects or groups by. */
function labelsOf(expression: string): readonly string[] {
  const selected = expression.matchAll(/(?<label>\w+)\s*(?:=~|!~|!=|=)\s*"/g);
  const grouped = expression.matchAll(/\b(?:by|without|on|ignoring)\s*\((?<list>[^)]*)\)/g);
  return [
    ...[...selected].map(({ groups }) => groups?.['label'] ?? ''),
    ...[...grouped].flatMap(({ groups }) => groups?.['list']?.match(/\w+/g) ?? []),
  ];
}

/** The metrics that an expression of PromQL asks for: words that are no function, label or text. */
export function metricsOf(expression: string): readonly string[] {
  const bare = expression
    .replaceAll(/"[^"]*"|'[^']*'/g, '')
    .replaceAll(/\{[^}]*\}/g, ' ')
    .replaceAll(/\[[^\]]*\]/g, '')
    .replaceAll(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ');
  const words = bare.match(/[a-zA-Z_]\w*(?!\w*\s*\()/g) ?? [];
  const operators = new Set(['and', 'or', 'unless', 'bool', 'offset', 'inf', 'nan']);
  const names = words.filter((word) => !operators.has(word.toLowerCase()));
  return [...new Set(names)];
}
