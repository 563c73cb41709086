import { apiTime } from '../api/api-time.ts';
import { observe } from './observations.ts';
import type { Pressure } from './observations.ts';
import type { PressureWatch } from './pressure-watch.ts';
import type { NodeCondition } from './node-object.ts';
import type { NodeReadings } from './node-readings.ts';

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

/** Makes the conditions of a node of what is read of it (Kubernetes: Node Status). */
export class NodeConditions {
  readonly #watch: PressureWatch;

  /** `watch`: says which pressures there are; it learns of the readings. */
  constructor(watch: PressureWatch) {
    this.#watch = watch;
  }

  /** `monotonicMs`: for how long a pressure is held; `nowMs`: the date. */
  judge(
    readings: NodeReadings,
    previous: readonly NodeCondition[],
    { nowMs, monotonicMs }: { readonly nowMs: number; readonly monotonicMs: number },
  ): readonly NodeCondition[] {
    this.#watch.observe(observe(readings), monotonicMs);
    const present = this.#watch.pressures(monotonicMs);
    const pressing = pressures.map((type) => {
      const status = present.has(type) ? 'True' : 'False';
      const [reason, message] = said[type][status];
      return { type, status, reason, message } as const;
    });
    return [...pressing, readiness(readings.problems)].map((condition) =>
      dated(condition, previous, nowMs),
    );
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
