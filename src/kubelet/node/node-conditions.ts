import type { DiskSpace, ProcessCount } from '../../host/disk-space.ts';
import { apiTime } from '../status/api-time.ts';
import { thresholdOf } from './capacity.ts';
import type { NodeCondition, NodeSettings } from './node-object.ts';

/** What the judgement on a node is made of; what could not be read presses nobody. */
export interface NodeReadings {
  readonly memory: { readonly total: number; readonly available: number } | undefined;
  readonly disk: DiskSpace | undefined;
  /** Where images are. */
  readonly imageDisk: DiskSpace | undefined;
  readonly processes: ProcessCount | undefined;
  /** Why the node is not ready; none: it is. */
  readonly problems: readonly string[];
}

type Pressure = 'MemoryPressure' | 'DiskPressure' | 'PIDPressure';

/** Reason and message of each pressure, where there is none and where there is. */
const said = {
  MemoryPressure: {
    False: ['KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
    True: ['KubeletHasInsufficientMemory', 'kubelet has insufficient memory available'],
  },
  DiskPressure: {
    False: ['KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
    True: ['KubeletHasDiskPressure', 'kubelet has disk pressure'],
  },
  PIDPressure: {
    False: ['KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
    True: ['KubeletHasInsufficientPID', 'kubelet has insufficient PID available'],
  },
} as const satisfies Record<Pressure, unknown>;

/** Pressures in the order in which the conditions are written; Ready is the last. */
const pressures: readonly Pressure[] = ['MemoryPressure', 'DiskPressure', 'PIDPressure'];

/** Judges readings, and holds a pressure for a while after it was seen last (spec 7.2, 12). */
export class NodeConditions {
  readonly #settings: Pick<NodeSettings, 'evictionHard' | 'pressureTransitionMs'>;
  readonly #seenAtMs = new Map<Pressure, number>();

  constructor(settings: Pick<NodeSettings, 'evictionHard' | 'pressureTransitionMs'>) {
    this.#settings = settings;
  }

  /** `monotonicMs`: for how long a pressure is held; `nowMs`: the date. */
  judge(
    readings: NodeReadings,
    previous: readonly NodeCondition[],
    { nowMs, monotonicMs }: { readonly nowMs: number; readonly monotonicMs: number },
  ): readonly NodeCondition[] {
    for (const pressure of this.#present(readings)) this.#seenAtMs.set(pressure, monotonicMs);
    const pressing = pressures.map((type) => {
      const seenAtMs = this.#seenAtMs.get(type);
      const holdMs = this.#settings.pressureTransitionMs;
      const status = seenAtMs !== undefined && monotonicMs - seenAtMs <= holdMs ? 'True' : 'False';
      const [reason, message] = said[type][status];
      return { type, status, reason, message } as const;
    });
    return [...pressing, readiness(readings.problems)].map((condition) =>
      dated(condition, previous, nowMs),
    );
  }

  #present({ memory, disk, imageDisk, processes }: NodeReadings): readonly Pressure[] {
    const { evictionHard } = this.#settings;
    const isLow = (signal: string, available: number, whole: number): boolean =>
      whole > 0 && available < thresholdOf(evictionHard[signal], whole);
    const present: Pressure[] = [];
    if (memory !== undefined && isLow('memory.available', memory.available, memory.total)) {
      present.push('MemoryPressure');
    }
    const isFull = (signal: 'nodefs' | 'imagefs', of: DiskSpace | undefined): boolean =>
      of !== undefined &&
      (isLow(`${signal}.available`, of.availableBytes, of.bytes) ||
        isLow(`${signal}.inodesFree`, of.freeInodes, of.inodes));
    if (isFull('nodefs', disk) || isFull('imagefs', imageDisk)) present.push('DiskPressure');
    if (
      processes !== undefined &&
      isLow('pid.available', processes.most - processes.now, processes.most)
    ) {
      present.push('PIDPressure');
    }
    return present;
  }
}

function readiness(problems: readonly string[]): Omit<NodeCondition, 'lastHeartbeatTime'> {
  const [only = ''] = problems;
  if (problems.length === 0) {
    const message = 'kubelet is posting ready status';
    return { type: 'Ready', status: 'True', reason: 'KubeletReady', message };
  }
  const message = problems.length === 1 ? only : `[${problems.join(', ')}]`;
  return { type: 'Ready', status: 'False', reason: 'KubeletNotReady', message };
}

function dated(
  condition: Omit<NodeCondition, 'lastHeartbeatTime'>,
  previous: readonly NodeCondition[],
  nowMs: number,
): NodeCondition {
  const before = previous.find(({ type }) => type === condition.type);
  const since = before?.status === condition.status ? before.lastTransitionTime : undefined;
  const now = apiTime(nowMs);
  return { ...condition, lastHeartbeatTime: now, lastTransitionTime: since ?? now };
}
