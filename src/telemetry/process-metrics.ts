import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';

/**
 * Adds what Prometheus' client for Go says of a process, and prom-client does not: its limit of virtual memory, and what its
 * network namespace has carried. What cannot be read is not there.
 */
export function collectProcessMetrics(registry: Registry, proc = '/proc/self'): void {
  const limit = new Gauge({
    name: 'process_virtual_memory_max_bytes',
    help: 'Maximum amount of virtual memory available in bytes; -1: there is no limit',
    registers: [registry],
    async collect() {
      const text = await readOrNothing(join(proc, 'limits'));
      const [, soft] = /^Max address space\s+(\S+)/m.exec(text) ?? [];
      if (soft !== undefined) limit.set(soft === 'unlimited' ? -1 : Number(soft));
    },
  });
  const carried = { InOctets: 'receive', OutOctets: 'transmit' } as const;
  for (const [field, direction] of Object.entries(carried)) {
    const name = direction === 'receive' ? 'received' : 'sent';
    const counter = new Counter({
      name: `process_network_${direction}_bytes_total`,
      help: `Number of bytes ${name} over the network of this process's namespace`,
      registers: [registry],
      async collect() {
        const bytes = fieldOf(await readOrNothing(join(proc, 'net', 'netstat')), field);
        counter.reset();
        if (bytes !== undefined) counter.inc(bytes);
      },
    });
  }
}

/** The kernel prints a line of names, and a line of values below it. */
function fieldOf(netstat: string, field: string): number | undefined {
  const [names = '', values = ''] = netstat
    .split('\n')
    .filter((line) => line.startsWith('IpExt: '));
  const at = names.split(' ').indexOf(field);
  return at < 0 ? undefined : Number(values.split(' ')[at]);
}

async function readOrNothing(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch {
    return '';
  }
}
