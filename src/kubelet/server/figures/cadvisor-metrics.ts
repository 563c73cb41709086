import type { MachineFacts } from '../../../host/machine-facts.ts';
import type { DeviceUse } from '../../../host/cgroup-usage.ts';
import type { DiskUse } from '../../../host/disk-use.ts';
import type { NodeReading } from '../../stats/node-reading.ts';
import type { ContainerFigures, Figures, PodFigures } from '../../stats/stats.ts';
import { family } from './metric-text.ts';
import type { Sample } from './metric-text.ts';
import { cadvisorFamilies } from './cadvisor-families.ts';
import type { Subject, SubjectDisk } from './cadvisor-families.ts';

export interface CadvisorExtras {
  readonly machine: Pick<
    MachineFacts,
    'cpus' | 'memoryBytes' | 'bootId' | 'machineId' | 'systemUuid'
  >;
  /** What a container has written over its image, by its ID. */
  readonly layerOf: (id: string) => DiskUse | undefined;
  /** `/dev/sda` of `8:0`. */
  readonly deviceName: (device: string) => string;
  /** Of the kubelet's own folder, and of where layers are. */
  readonly nodeDevice: string;
  readonly imageDevice: string;
}

/** `/metrics/cadvisor`: the series of containers that dashboards use, by cAdvisor's names. undefined: the runtime did not answer. */
export function cadvisorMetrics(figures: Figures | undefined, extras: CadvisorExtras): string {
  const subjects = figures === undefined ? [] : subjectsOf(figures, extras);
  const { cpus, memoryBytes, bootId, machineId, systemUuid } = extras.machine;
  const labels = { boot_id: bootId, machine_id: machineId, system_uuid: systemUuid };
  const ofMachine = (value: number | undefined): readonly Sample[] => [
    { labels, value, atMs: undefined },
  ];
  const swapBytes = figures?.node.swapTotalBytes;
  const failed = { labels: {}, value: figures === undefined ? 1 : 0, atMs: undefined };
  return [
    ...cadvisorFamilies(extras.deviceName).flatMap(({ name, type, help, samples }) =>
      family(name, type, help, subjects.flatMap(samples)),
    ),
    ...family('container_scrape_error', 'gauge', '1 where containers could not be measured', [
      failed,
    ]),
    ...family('machine_cpu_cores', 'gauge', 'CPUs of the machine', ofMachine(cpus)),
    ...family('machine_memory_bytes', 'gauge', 'Memory of the machine', ofMachine(memoryBytes)),
    ...family('machine_swap_bytes', 'gauge', 'Swap of the machine', ofMachine(swapBytes)),
    '',
  ].join('\n');
}

function subjectsOf({ node, pods }: Figures, extras: CadvisorExtras): readonly Subject[] {
  const { layerOf, imageDevice: device } = extras;
  const space = node.images?.space;
  const layers = (id: string): readonly SubjectDisk[] => {
    const layer = layerOf(id);
    return layer === undefined ? [] : [{ device, usedBytes: layer.bytes, space }];
  };
  return [
    ...ofNode(node, disksOf(node, extras)),
    ...pods.flatMap((pod) => [
      ...ofPod(pod),
      ...pod.containers.map((each) => ofContainer(pod, each, layers(each.container.id))),
    ]),
  ];
}

/** Where the kubelet's own folder and images are; that may be one. */
function disksOf(
  { disk, images }: NodeReading,
  { nodeDevice, imageDevice }: CadvisorExtras,
): readonly SubjectDisk[] {
  const spaces = new Map([
    [imageDevice, images?.space],
    [nodeDevice, disk],
  ]);
  return [...spaces].flatMap(([device, space]) =>
    space === undefined ? [] : [{ device, usedBytes: space.usedBytes, space }],
  );
}

const nobody = { container: '', id: '/', image: '', name: '', namespace: '', pod: '' };

function ofNode(node: NodeReading, disks: readonly SubjectDisk[]): readonly Subject[] {
  const { atMs, startedAtMs, pods, network = [] } = node;
  const none = { usage: undefined, network: [], disks: [], startedAtMs, atMs };
  const root = { ...none, labels: nobody, whole: node, network, disks };
  if (pods === undefined) return [root];
  const { cpu, memory, tasks } = pods.usage;
  const whole = {
    cpu: cpu && { ...cpu, nanoCores: undefined, atMs },
    memory: memory && { ...memory, atMs },
    tasks,
  };
  return [root, { ...none, labels: { ...nobody, id: pods.path }, whole, usage: pods.usage }];
}

/** The pod as a whole, and its network by the name of its sandbox. */
function ofPod({
  pod,
  whole,
  cgroup,
  sandboxId,
  sandboxPath,
  network,
  atMs,
}: PodFigures): readonly Subject[] {
  const names = { namespace: pod.namespace, pod: pod.name };
  const made = pod.sandboxes.find(({ id }) => id === sandboxId)?.createdAt;
  const startedAtMs = made === undefined ? undefined : Number(made / 1_000_000n);
  const common = { disks: [], startedAtMs, atMs };
  const ofWhole = {
    ...common,
    labels: { ...nobody, ...names, id: cgroup?.path ?? `/pod${pod.uid}` },
    whole,
    usage: cgroup?.usage,
    network: [],
  };
  const id = sandboxPath ?? `/${sandboxId}`;
  const ofNetwork = {
    ...common,
    labels: { ...nobody, ...names, id, name: sandboxId },
    whole: { cpu: undefined, memory: undefined, tasks: undefined },
    usage: undefined,
    network: network ?? [],
  };
  return network === undefined ? [ofWhole] : [ofWhole, ofNetwork];
}

function ofContainer(
  { pod }: PodFigures,
  { container, cgroup, whole, atMs }: ContainerFigures,
  disks: readonly SubjectDisk[],
): Subject {
  return {
    labels: {
      container: container.name,
      id: cgroup?.path ?? `/${container.id}`,
      image: container.image,
      name: container.id,
      namespace: pod.namespace,
      pod: pod.name,
    },
    whole,
    usage: cgroup?.usage,
    network: [],
    disks,
    startedAtMs: Number(container.startedAt / 1_000_000n),
    atMs,
  };
}

/** All devices that somebody has read of or written to. */
export function devicesOf({ pods, node }: Figures): ReadonlySet<string> {
  const usages = [
    node.pods?.usage,
    ...pods.flatMap(({ cgroup, containers }) => [
      cgroup?.usage,
      ...containers.map((each) => each.cgroup?.usage),
    ]),
  ];
  const io = usages.flatMap((usage): readonly DeviceUse[] => usage?.io ?? []);
  return new Set(io.map(({ device }) => device));
}
