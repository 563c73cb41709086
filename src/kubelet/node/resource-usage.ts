import { readCpuSeconds } from '../../host/cpu-time.ts';
import { readMemory } from '../../host/machine-memory.ts';
import type { Cri } from '../cri/client.ts';
import type { ContainerStats } from '../cri/gen/api_pb.ts';
import type { RuntimePod } from '../runtime/runtime-pod.ts';

/** What something has used; undefined: not known. */
export interface Usage {
  /** Since its start. */
  readonly cpuSeconds: number | undefined;
  /** Without what the kernel can take back at once. */
  readonly memoryBytes: number | undefined;
  readonly atMs: number;
}

export interface ContainerUsage extends Usage {
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
  readonly startedAtMs: number;
}

/** What a node and its containers use now. */
export interface NodeUsage {
  readonly node: Usage;
  readonly containers: readonly ContainerUsage[];
}

/** Reads the machine and asks the runtime of the containers of `pods` that run. Throws where it does not answer. */
export async function readUsage(
  runtime: Pick<Cri['runtime'], 'listContainerStats'>,
  pods: Iterable<RuntimePod>,
  nowMs: number,
): Promise<NodeUsage> {
  const [{ stats }, { total, available }, cpuSeconds] = await Promise.all([
    runtime.listContainerStats({}),
    readMemory(),
    readCpuSeconds(),
  ]);
  const memoryBytes =
    total === undefined || available === undefined ? undefined : total - available;
  const byId = new Map(stats.map((each) => [each.attributes?.id ?? '', each]));
  const containers = [...pods].flatMap((pod) =>
    pod.containers.flatMap(({ id, name, state, startedAt }): readonly ContainerUsage[] => {
      const of = byId.get(id);
      if (state !== 'running' || of === undefined) return [];
      const names = { namespace: pod.namespace, pod: pod.name, container: name };
      return [{ ...names, startedAtMs: Number(startedAt / 1_000_000n), ...usageOf(of, nowMs) }];
    }),
  );
  return { node: { cpuSeconds, memoryBytes, atMs: nowMs }, containers };
}

function usageOf({ cpu, memory }: ContainerStats, nowMs: number): Usage {
  const cpuNs = cpu?.usageCoreNanoSeconds?.value;
  const bytes = memory?.workingSetBytes?.value;
  const atNs = cpu?.timestamp ?? 0n;
  return {
    cpuSeconds: cpuNs === undefined ? undefined : Number(cpuNs) / 1e9,
    memoryBytes: bytes === undefined ? undefined : Number(bytes),
    atMs: atNs > 0n ? Number(atNs / 1_000_000n) : nowMs,
  };
}
