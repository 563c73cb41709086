// Metrics of the process that Go's client has and Node's has not.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { afterEach, expect, it } from 'vitest';
import { collectProcessMetrics } from '../../../src/telemetry/process-metrics.ts';

const folders: string[] = [];

afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

async function read(limits: string, netstat: string): Promise<readonly string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'switchyard-proc-'));
  folders.push(folder);
  await mkdir(join(folder, 'net'));
  await writeFile(join(folder, 'limits'), limits);
  await writeFile(join(folder, 'net', 'netstat'), netstat);
  const registry = new Registry();
  collectProcessMetrics(registry, folder);
  await registry.metrics(); // a counter that is read twice says the same
  return (await registry.metrics()).split('\n').filter((line) => line.startsWith('process_'));
}

it('are the limit of virtual memory and what the network carried', async () => {
  const limits =
    'Limit      Soft Limit  Hard Limit  Units\nMax address space  4096  unlimited  bytes\n';
  const netstat =
    'TcpExt: SyncookiesSent\nTcpExt: 0\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 1 46675 40899\n';
  expect(await read(limits, netstat)).toEqual([
    'process_virtual_memory_max_bytes 4096',
    'process_network_receive_bytes_total 46675',
    'process_network_transmit_bytes_total 40899',
  ]);
});

it('say that there is no limit', async () => {
  const limits = 'Max address space         unlimited            unlimited            bytes\n';
  expect(await read(limits, '')).toContain('process_virtual_memory_max_bytes -1');
});
