// What a Node says of its machine, read from the machine’s own files.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readBootTimeMs } from '../../../src/host/boot-time.ts';
import { readDiskSpace } from '../../../src/host/disk-space.ts';
import { readMachineFacts } from '../../../src/host/machine-facts.ts';
import { readProcessCount } from '../../../src/host/process-count.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'machine-facts-'));
});

afterEach(async () => rm(folder, { recursive: true }));

async function write(path: string, text: string): Promise<void> {
  const file = join(folder, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}

function paths() {
  return { proc: join(folder, 'proc'), sys: join(folder, 'sys'), etc: join(folder, 'etc') };
}

test('facts are read from where the machine has them', async () => {
  await write('proc/meminfo', 'MemTotal:       4096 kB\nMemFree: 1 kB\n');
  await write('proc/sys/kernel/random/boot_id', 'b1\n');
  await write('sys/class/dmi/id/product_uuid', 's1\n');
  await write('sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', '3\n');
  await write('etc/machine-id', 'm1\n');
  await write('etc/os-release', 'NAME=x\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n');
  expect(await readMachineFacts(paths())).toMatchObject({
    memoryBytes: 4096 * 1024,
    hugePages: new Map([[2048 * 1024, 3]]),
    machineId: 'm1',
    systemUuid: 's1',
    bootId: 'b1',
    osImage: 'Debian GNU/Linux 13 (trixie)',
  });
});

test('what a machine does not say is left empty', async () => {
  await write('etc/machine-id', 'm1\n');
  expect(await readMachineFacts(paths())).toMatchObject({
    memoryBytes: 0,
    systemUuid: 'm1',
    bootId: '',
    osImage: 'Linux',
  });
});

test('this machine says them all', async () => {
  const { cpus, memoryBytes, bootId, kernelVersion, architecture } = await readMachineFacts();
  expect([cpus > 0, memoryBytes > 0, bootId !== '', kernelVersion !== '']).toEqual(
    Array(4).fill(true),
  );
  expect(architecture).toMatch(/^(?:amd64|arm64|[a-z0-9]+)$/);
  const disk = await readDiskSpace(folder);
  expect(disk.bytes).toBeGreaterThanOrEqual(disk.availableBytes);
});

test('processes are counted as the kernel counts them', async () => {
  await write('proc/sys/kernel/pid_max', '4194304\n');
  await write('proc/loadavg', '0.20 0.18 0.12 1/80 11206\n');
  expect(await readProcessCount(join(folder, 'proc'))).toEqual({ most: 4_194_304, now: 80 });
  expect(await readProcessCount(join(folder, 'nowhere'))).toBeUndefined();
});

test('the machine was started when the kernel says so', async () => {
  await write('proc/stat', 'cpu  1 2 3\nbtime 1700000000\nprocesses 4\n');
  expect(await readBootTimeMs(join(folder, 'proc'))).toBe(1_700_000_000_000);
  expect(await readBootTimeMs(join(folder, 'nowhere'))).toBeUndefined();
});
