import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const page = join(import.meta.dirname, '../../docs/metrics.md');

/** Metrics that are no metrics of the agent's: Prometheus makes them, or the runtime of the agent. */
const others = [
  'up',
  ...[
    'cpu_seconds_total',
    'open_fds',
    'max_fds',
    'resident_memory_bytes',
    'start_time_seconds',
  ].map((name) => `process_${name}`),
  ...['eventloop_lag_p99_seconds', 'heap_size_used_bytes'].map((name) => `nodejs_${name}`),
];

/** The names of all series of the agent: those of docs/metrics.md, where a histogram has three, and the runtime's. */
export function knownMetrics(): ReadonlySet<string> {
  const names = new Set(others);
  const rows = readFileSync(page, 'utf8').matchAll(/^\| `(?<name>\w+)` \| (?<type>\w+) \|/gm);
  for (const { groups } of rows) {
    const { name = '', type } = groups ?? {};
    if (type !== 'histogram') names.add(name);
    else for (const end of ['bucket', 'sum', 'count']) names.add(`${name}_${end}`);
  }
  return names;
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
