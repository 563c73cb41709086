import type { ChainName } from './state.ts';

/**
 * The generation: which agent wrote a table last, and in its how-manieth restore. It stands as a
 * comment in the root chain of nat and of filter, so that one look at one chain tells whether the
 * table is still ours.
 */
export interface Generation {
  /** Names one run of one agent; letters, digits, dots and dashes. */
  readonly instanceId: string;
  readonly number: number;
}

/** The chain that carries the comment, in the tables that have one. */
export const generationChain = 'KUBE-SERVICES' as ChainName;

/** The text of the comment: `generation 9f3a11c2 17`. */
export function generationText({ instanceId, number }: Generation): string {
  return `generation ${instanceId} ${number}`;
}

/** The generation in a rule, or undefined where it has none. */
export function findGeneration(rule: string): Generation | undefined {
  const match = /"switchyard generation (\S+) (\d+)"/.exec(rule);
  return match === null ? undefined : { instanceId: match[1] ?? '', number: Number(match[2]) };
}
