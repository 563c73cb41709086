import type { CgroupUsage } from '../../host/cgroup-usage.ts';
import type { ContainerStats, CpuUsage, MemoryUsage, PodSandboxStats } from '../cri/gen/api_pb.ts';
import type { ContainerReading, PodReading } from './pod-readings.ts';

/** CPU and memory of a container or a pod, whoever measured them; undefined: not known. */
export interface Measured {
  readonly cpu: MeasuredCpu | undefined;
  readonly memory: MeasuredMemory | undefined;
  readonly tasks: number | undefined;
}

export interface MeasuredCpu {
  readonly seconds: number;
  /** As the runtime worked it out. */
  readonly nanoCores: number | undefined;
  readonly atMs: number;
}

export interface MeasuredMemory {
  readonly workingSetBytes: number;
  readonly usageBytes: number | undefined;
  readonly rssBytes: number | undefined;
  readonly swapBytes: number | undefined;
  readonly pageFaults: number | undefined;
  readonly majorPageFaults: number | undefined;
  readonly limitBytes: number | undefined;
  readonly atMs: number;
}

/** By its cgroup, or else by what the runtime says. */
export function measuredContainer(
  { cgroup, atMs }: Pick<ContainerReading, 'cgroup' | 'atMs'>,
  runtime: Pick<ContainerStats, 'cpu' | 'memory'> | undefined,
): Measured {
  if (cgroup !== undefined) return byCgroup(cgroup.usage, atMs);
  return byRuntime(runtime?.cpu, runtime?.memory, undefined, atMs);
}

/** By its cgroup, or else by what the runtime says, or else all that its containers use. */
export function measuredPod(
  { cgroup, atMs }: Pick<PodReading, 'cgroup' | 'atMs'>,
  containers: readonly Measured[],
  runtime: Pick<PodSandboxStats, 'linux'> | undefined,
): Measured {
  if (cgroup !== undefined) return byCgroup(cgroup.usage, atMs);
  const { cpu, memory, process } = runtime?.linux ?? {};
  const said = byRuntime(cpu, memory, numberOf(process?.processCount), atMs);
  if (said.cpu !== undefined || said.memory !== undefined) return said;
  return { ...summed(containers), tasks: said.tasks };
}

/** By a cgroup alone. */
export function byCgroup({ cpu, memory, tasks }: CgroupUsage, atMs: number): Measured {
  return {
    cpu: cpu && { seconds: cpu.seconds, nanoCores: undefined, atMs },
    memory: memory && { ...memory, atMs },
    tasks,
  };
}

function byRuntime(
  cpu: CpuUsage | undefined,
  memory: MemoryUsage | undefined,
  tasks: number | undefined,
  nowMs: number,
): Measured {
  const cpuNs = numberOf(cpu?.usageCoreNanoSeconds);
  const workingSetBytes = numberOf(memory?.workingSetBytes);
  return {
    cpu:
      cpuNs === undefined
        ? undefined
        : {
            seconds: cpuNs / 1e9,
            nanoCores: numberOf(cpu?.usageNanoCores),
            atMs: timeOf(cpu?.timestamp, nowMs),
          },
    memory:
      workingSetBytes === undefined
        ? undefined
        : {
            workingSetBytes,
            usageBytes: numberOf(memory?.usageBytes),
            rssBytes: numberOf(memory?.rssBytes),
            swapBytes: undefined,
            pageFaults: numberOf(memory?.pageFaults),
            majorPageFaults: numberOf(memory?.majorPageFaults),
            limitBytes: undefined,
            atMs: timeOf(memory?.timestamp, nowMs),
          },
    tasks,
  };
}

function summed(containers: readonly Measured[]): Pick<Measured, 'cpu' | 'memory'> {
  const cpus = containers.flatMap(({ cpu }) => cpu ?? []);
  const memories = containers.flatMap(({ memory }) => memory ?? []);
  return {
    cpu: cpus.length === 0 ? undefined : { ...sumOf(cpus, ['seconds', 'nanoCores']) },
    memory:
      memories.length === 0
        ? undefined
        : {
            ...sumOf(memories, [
              'workingSetBytes',
              'usageBytes',
              'rssBytes',
              'swapBytes',
              'pageFaults',
              'majorPageFaults',
            ]),
            limitBytes: undefined,
          },
  };
}

/** The latest moment, and these fields summed: undefined where none has it. */
function sumOf<T extends { readonly atMs: number }>(
  all: readonly T[],
  fields: readonly (keyof T)[],
): T {
  const sums = fields.map((field) => {
    const known = all.flatMap((each) => (each[field] as number | undefined) ?? []);
    return [field, known.length === 0 ? undefined : known.reduce((sum, one) => sum + one, 0)];
  });
  return {
    ...(Object.fromEntries(sums) as T),
    atMs: Math.max(...all.map(({ atMs }) => atMs)),
  };
}

function timeOf(timestampNs: bigint | undefined, nowMs: number): number {
  return timestampNs === undefined || timestampNs <= 0n ? nowMs : Number(timestampNs / 1_000_000n);
}

function numberOf(value: { readonly value: bigint } | undefined): number | undefined {
  return value === undefined ? undefined : Number(value.value);
}
