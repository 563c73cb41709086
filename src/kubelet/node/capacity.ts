import type { DiskSpace } from '../../host/disk-space.ts';
import type { MachineFacts } from '../../host/machine-facts.ts';
import { parseQuantity, quantityOf, wholeUnits } from '../pod/quantity.ts';
import type { NodeSettings, Quantities } from './node-object.ts';

/** What a node has, and what of it pods may use (Kubernetes: Reserve Compute Resources for System Daemons). */
export interface NodeCapacity {
  readonly capacity: Quantities;
  readonly allocatable: Quantities;
}

type Reserved = Pick<
  NodeSettings,
  | 'maxPods'
  | 'podsPerCore'
  | 'systemReserved'
  | 'kubeReserved'
  | 'evictionHard'
  | 'countsLocalStorage'
>;

/** `rootDisk`: of the file system that the kubelet's folder is on; undefined: not known yet. */
export function nodeCapacity(
  machine: Pick<MachineFacts, 'cpus' | 'memoryBytes' | 'hugePages'>,
  rootDisk: DiskSpace | undefined,
  settings: Reserved,
): NodeCapacity {
  const pages = [...machine.hugePages].map(
    ([size, count]) => [hugeName(size), size * count] as const,
  );
  const whole = new Map<string, number>([
    ['cpu', machine.cpus * 1000],
    ...(settings.countsLocalStorage && rootDisk !== undefined
      ? [['ephemeral-storage', rootDisk.bytes] as const]
      : []),
    ...pages,
    ['memory', machine.memoryBytes],
    ['pods', mostPods(machine.cpus, settings)],
  ]);
  const huge = pages.reduce((sum, [, bytes]) => sum + bytes, 0);
  const left = [...whole].map(([name, amount]) => {
    const kept = reserved(name, amount, settings) + (name === 'memory' ? huge : 0);
    return [name, Math.max(0, amount - kept)] as const;
  });
  return { capacity: written(whole), allocatable: written(left) };
}

function mostPods(
  cpus: number,
  { maxPods, podsPerCore }: Pick<Reserved, 'maxPods' | 'podsPerCore'>,
): number {
  return podsPerCore === 0 ? maxPods : Math.min(maxPods, podsPerCore * cpus);
}

/** How much of `whole` a threshold such as `100Mi` or `10%` is; 0 where there is none. */
export function thresholdOf(text: string | undefined, whole: number): number {
  if (text === undefined) return 0;
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text)?.[1];
  if (percent !== undefined) return Math.floor((whole * Number(percent)) / 100);
  return Number(wholeUnits(parseQuantity(text) ?? 0n));
}

/** Signals of eviction by the resource that they keep something of. */
const signals: Readonly<Record<string, string>> = {
  memory: 'memory.available',
  'ephemeral-storage': 'nodefs.available',
};

/** CPU in thousandths, all else in whole units. */
function reserved(name: string, whole: number, settings: Reserved): number {
  const signal = signals[name];
  const lists = [settings.systemReserved, settings.kubeReserved];
  const asked = lists.map((list) => quantityOf(list[name]) * (name === 'cpu' ? 1000n : 1n));
  const kept = asked.reduce((sum, amount) => sum + Number(wholeUnits(amount)), 0);
  return kept + (signal === undefined ? 0 : thresholdOf(settings.evictionHard[signal], whole));
}

function written(amounts: Iterable<readonly [string, number]>): Quantities {
  return Object.fromEntries([...amounts].map(([name, amount]) => [name, quantity(name, amount)]));
}

function quantity(name: string, amount: number): string {
  if (name === 'cpu') return amount % 1000 === 0 ? `${amount / 1000}` : `${amount}m`;
  const isBytes = name !== 'pods';
  return isBytes && amount > 0 && amount % 1024 === 0 ? `${amount / 1024}Ki` : `${amount}`;
}

/** `hugepages-2Mi`, `hugepages-1Gi` */
function hugeName(bytes: number): string {
  const units = [
    ['Gi', 1024 ** 3],
    ['Mi', 1024 ** 2],
  ] as const;
  const [unit, size] = units.find(([, each]) => bytes % each === 0) ?? ['Ki', 1024];
  return `hugepages-${bytes / size}${unit}`;
}
