import { readdir, readFile } from 'node:fs/promises';
import { arch, availableParallelism, cpus, release } from 'node:os';
import { join } from 'node:path';
import { readMeminfo } from './meminfo.ts';

/** What stays the same of a machine until it is started again. */
export interface MachineFacts {
  readonly cpus: number;
  readonly memoryBytes: number;
  /** By page size in bytes: how many are set aside. */
  readonly hugePages: ReadonlyMap<number, number>;
  /** '' where the machine does not say. */
  readonly machineId: string;
  readonly systemUuid: string;
  readonly bootId: string;
  readonly kernelVersion: string;
  readonly osImage: string;
  /** As Go has it: `amd64`, `arm64`. */
  readonly architecture: string;
}

/** Where the machine says so; tests point it at folders of their own. */
export interface MachinePaths {
  readonly proc: string;
  readonly sys: string;
  readonly etc: string;
}

const usualPaths: MachinePaths = { proc: '/proc', sys: '/sys', etc: '/etc' };

/** Node's names where Go has others. */
const architectures: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  ppc64: 'ppc64le',
  mipsel: 'mipsle',
};

/** Reads what a Node object says of its machine; what cannot be read is left empty. */
export async function readMachineFacts(paths: MachinePaths = usualPaths): Promise<MachineFacts> {
  const { proc, sys, etc } = paths;
  const bytesOf = await readMeminfo(proc);
  const uuid = await text(sys, 'class/dmi/id/product_uuid');
  const machineId = await text(etc, 'machine-id');
  return {
    // all of them, whatever this process may use
    cpus: cpus().length || availableParallelism(),
    memoryBytes: bytesOf('MemTotal') ?? 0,
    hugePages: await hugePages(join(sys, 'kernel/mm/hugepages')),
    machineId,
    systemUuid: uuid === '' ? machineId : uuid,
    bootId: await text(proc, 'sys/kernel/random/boot_id'),
    kernelVersion: release(),
    osImage: prettyName(await text(etc, 'os-release')),
    architecture: architectures[arch()] ?? arch(),
  };
}

async function text(...path: string[]): Promise<string> {
  return readFile(join(...path), 'utf8').then(
    (content) => content.trim(),
    () => '',
  );
}

async function hugePages(folder: string): Promise<ReadonlyMap<number, number>> {
  const names = await readdir(folder).catch((): string[] => []);
  const pages = new Map<number, number>();
  for (const name of names.toSorted()) {
    const kilobytes = /^hugepages-(\d+)kB$/.exec(name)?.[1];
    const count = await readFile(join(folder, name, 'nr_hugepages'), 'utf8').catch(() => '');
    if (kilobytes !== undefined) pages.set(Number(kilobytes) * 1024, Number(count.trim()) || 0);
  }
  return pages;
}

/** `PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"` */
function prettyName(file: string): string {
  const value = /^PRETTY_NAME=(.*)$/m.exec(file)?.[1] ?? '';
  return value.replace(/^(["'])(.*)\1$/, '$2') || 'Linux';
}
