import type { PodCondition, PodStatus } from '../pod/pod-status.ts';
import { isDisruption, isOwnCondition } from './conditions.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Once the API has one of these it stays: it is the same object's, and the server refuses another. */
const first = ['startTime', 'qosClass'] as const;
/** Gone where they are not said. */
const words = ['reason', 'message'] as const;
/** As they are, or not said. */
const values = ['phase', 'observedGeneration', 'hostIP', 'podIP'] as const;
/** Merged by their address: those that are not named would stay. */
const addresses = ['hostIPs', 'podIPs'] as const;
/** Replaced as a whole. */
const containers = [
  'initContainerStatuses',
  'containerStatuses',
  'ephemeralContainerStatuses',
] as const;

/** What this kubelet writes; all else is others'. */
export const ownFields: ReadonlySet<string> = new Set([
  'conditions',
  ...first,
  ...words,
  ...values,
  ...addresses,
  ...containers,
]);

/**
 * What turns the status that the API has into `wanted`, as a strategic merge patch; undefined: they say the same. Conditions of others, and
 * fields that this kubelet does not write, are left out.
 */
export function statusPatch(api: PodStatus, wanted: PodStatus): Fields | undefined {
  const conditions = changedConditions(api.conditions ?? [], wanted.conditions ?? []);
  const patch: Fields = {
    ...(conditions.length === 0 ? {} : { conditions }),
    ...picked(first, (name) => (api[name] === undefined ? wanted[name] : undefined)),
    ...picked(words, (name) =>
      isSame(api[name], wanted[name]) ? undefined : (wanted[name] ?? null),
    ),
    ...picked([...values, ...containers], (name) =>
      isSame(api[name], wanted[name]) ? undefined : wanted[name],
    ),
    ...picked(addresses, (name) =>
      wanted[name] === undefined || isSame(api[name], wanted[name])
        ? undefined
        : [{ $patch: 'replace' }, ...wanted[name]],
    ),
  };
  return Object.keys(patch).length === 0 ? undefined : patch;
}

function picked<N extends string>(names: readonly N[], of: (name: N) => unknown): Fields {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = of(name);
      return value === undefined ? [] : [[name, value] as const];
    }),
  );
}

function changedConditions(
  api: readonly PodCondition[],
  wanted: readonly PodCondition[],
): readonly Fields[] {
  const own = wanted.filter((each) => isOwnCondition(each) || isDisruption(each));
  return own.flatMap((condition) => {
    const before = api.find(({ type }) => type === condition.type);
    if (isSame(before, condition)) return [];
    const gone = Object.keys(before ?? {}).filter((name) => !(name in condition));
    return [{ ...condition, ...Object.fromEntries(gone.map((name) => [name, null])) }];
  });
}

/** Whether two values say the same to the API, which leaves out what is empty. */
export function isSame(a: unknown, b: unknown): boolean {
  return said(a) === said(b);
}

function said(value: unknown): string | undefined {
  const known = withoutEmpty(value);
  return known === undefined ? undefined : JSON.stringify(known);
}

function withoutEmpty(value: unknown): unknown {
  if (value === null || value === undefined || value === '') return undefined;
  if (Array.isArray(value)) {
    return value.length === 0 ? undefined : value.map((each) => withoutEmpty(each) ?? null);
  }
  if (typeof value !== 'object') return value;
  const entries = Object.entries(value)
    .map(([name, each]) => [name, withoutEmpty(each)] as const)
    .filter(([, each]) => each !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
