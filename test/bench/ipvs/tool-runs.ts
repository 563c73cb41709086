import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { execa } from 'execa';

const folder = '/sys/kernel/tracing';

/** How often each program was started. */
export type ToolCounts = Readonly<Record<string, number>>;

/** Counts the programs that are started in the guest, by the trace of its kernel. */
export class ToolRuns {
  static async open(): Promise<ToolRuns> {
    await execa('mount', ['-t', 'tracefs', 'tracefs', folder], { reject: false });
    await writeFile(join(folder, 'buffer_size_kb'), '8192');
    await writeFile(join(folder, 'events/sched/sched_process_exec/enable'), '1');
    return new ToolRuns();
  }

  /** What was started while something is done. */
  async during<T>(work: () => Promise<T>): Promise<readonly [T, ToolCounts]> {
    const trace = join(folder, 'trace');
    await writeFile(trace, '');
    const result = await work();
    const counts: Record<string, number> = {};
    const events = (await readFile(trace, 'utf8')).matchAll(/sched_process_exec: filename=(\S+)/g);
    for (const [, file = ''] of events) {
      const name = basename(file);
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return [result, counts];
  }
}

export function totalOf(counts: ToolCounts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** `ipset 34, iptables 20`; the most frequent first. */
export function countsText(counts: ToolCounts): string {
  const sorted = Object.entries(counts).toSorted(([, a], [, b]) => b - a);
  return sorted.map(([name, count]) => `${name} ${count}`).join(', ') || 'none';
}
