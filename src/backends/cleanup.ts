import type { Mode } from './backend.ts';

/**
 * What is to go. `all`: whatever has the names of the mode, whoever wrote it. `leftovers`: on a node where another
 * service proxy has taken over, only what its rules do not use.
 */
export type CleanupScope = 'all' | 'leftovers';

/** Something that stays. */
export interface Kept {
  /** `chain KUBE-FORWARD of filter (IPv4, nft)` */
  readonly what: string;
  readonly why: string;
  /** Whether it should have gone: then the clean-up is not complete. */
  readonly isObstacle: boolean;
}

/** What a mode would remove of what it finds on the node. */
export interface CleanupPlan {
  readonly mode: Mode;
  /** Lines for people, in the order in which it goes; none where nothing is there. */
  readonly removes: readonly string[];
  readonly keeps: readonly Kept[];
}

/** What a removal ends with: nothing where a look finds nothing any more, else what failed on the way and what is still there. */
export function unremoved(
  { removes }: CleanupPlan,
  failures: readonly string[],
): readonly string[] {
  if (removes.length === 0) return [];
  return [...failures, ...removes.map((line) => `still there: ${line}`)];
}

/** The clean-up of a mode: `look` only reads. */
export interface ModeCleanup {
  look(signal: AbortSignal): Promise<CleanupPlan>;
  /** Removes what the last look planned; what could not be removed, in words. */
  remove(signal: AbortSignal): Promise<readonly string[]>;
}
