import type { NodeCondition } from './node-object.ts';

/** By condition: the reason of the Event where it is True, and where it is not. */
const reasons: Readonly<Record<string, readonly [string, string]>> = {
  MemoryPressure: ['NodeHasInsufficientMemory', 'NodeHasSufficientMemory'],
  DiskPressure: ['NodeHasDiskPressure', 'NodeHasNoDiskPressure'],
  PIDPressure: ['NodeHasInsufficientPID', 'NodeHasSufficientPID'],
  Ready: ['NodeReady', 'NodeNotReady'],
};

/** Reasons of the Events that tell of conditions which are others than before; Ready is told where it changes, the rest from the first. */
export function conditionEvents(
  before: readonly NodeCondition[],
  after: readonly NodeCondition[],
): readonly string[] {
  return after.flatMap(({ type, status }) => {
    const was = before.find((each) => each.type === type)?.status;
    const [present, absent] = reasons[type] ?? [];
    const isNews = was !== status && !(type === 'Ready' && was === undefined && status !== 'True');
    const reason = status === 'True' ? present : absent;
    return isNews && reason !== undefined ? [reason] : [];
  });
}
