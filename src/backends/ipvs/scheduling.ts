import { isWeightedByService } from '../../graph/pool.ts';
import type { Pool } from '../../graph/rule-graph.ts';
import type { IpvsOptions } from './options.ts';
import type { SchedulerChoice } from './schedulers.ts';
import type { VirtualServer } from './state.ts';
import type { Missing } from './tool-problems.ts';

/** How the connections of a pool are treated. */
export type Scheduling = Pick<
  VirtualServer,
  'scheduler' | 'schedulerFlags' | 'persistentSeconds' | 'drainSeconds'
>;

/** How a pool is scheduled, and why that is not all its Service asked for, if it is not. */
export interface ChosenScheduling {
  readonly scheduling: Scheduling;
  readonly shortfall: string | undefined;
}

type SchedulerOptions = Pick<IpvsOptions, 'scheduler' | 'schedulerProblem'>;

/**
 * What the Service asked; where it asked nothing, the node's scheduler, or the one like it that heeds weights. What the kernel
 * lacks is passed by, but for the node's own, without which the mode does not start.
 */
export function chooseScheduling(pool: Pool, options: SchedulerOptions): ChosenScheduling {
  const { affinity, drainSeconds } = pool;
  const problems: Missing[] = [];
  const found = preferredSchedulers(pool, options.scheduler).find((choice) => {
    const problem = options.schedulerProblem(choice);
    if (problem !== undefined) problems.push(problem);
    return problem === undefined;
  });
  const { scheduler, flags } = found ?? usualChoice(options.scheduler);
  const scheduling = {
    scheduler,
    schedulerFlags: flags,
    persistentSeconds: affinity?.timeoutSeconds,
    ...(drainSeconds !== undefined && { drainSeconds }),
  };
  const reasons = problems.map(
    ({ name, reason, cure }) => `${name} cannot be used (${reason}), ${scheduler} is: ${cure}`,
  );
  const unheard = unheeded(pool, scheduler);
  if (unheard !== undefined) reasons.push(unheard);
  return { scheduling, shortfall: reasons.length === 0 ? undefined : reasons.join('; ') };
}

/** The schedulers that come before the node's own, the best first. */
export function preferredSchedulers(pool: Pool, usual: string): readonly SchedulerChoice[] {
  const { scheduling } = pool;
  const choices: SchedulerChoice[] = [];
  if (scheduling !== undefined) {
    const { scheduler, flags } = scheduling;
    choices.push(flags.length === 0 ? usualChoice(scheduler) : namedChoice(scheduler, flags));
  }
  const heeding = isWeightedByService(pool) ? heedingLike.get(usual) : undefined;
  if (heeding !== undefined) choices.push(usualChoice(heeding));
  return choices;
}

/** Of schedulers that pass weights by, the one that is the same but for that; `dh` has none. */
const heedingLike: ReadonlyMap<string, string> = new Map([
  ['rr', 'wrr'],
  ['lc', 'wlc'],
]);
const heedless = new Set(['rr', 'lc', 'dh']);

function unheeded(pool: Pool, scheduler: string): string | undefined {
  if (!isWeightedByService(pool) || !heedless.has(scheduler)) return undefined;
  return `its weights do not count with the scheduler ${scheduler}: name one that heeds them (annotation switchyard.io/scheduler)`;
}

const none: readonly string[] = Object.freeze([]);
/**
 * Schedulers by hash give a real server that drains its share of clients, and without these refuse them (seen with Linux 6.1: docs/adr/0008-ipvs-layout.md).
 */
const passingBy: ReadonlyMap<string, readonly string[]> = new Map([
  ['mh', ['mh-fallback']],
  ['sh', ['sh-fallback']],
]);
/** kube-proxy's: without the port all connections of a client would meet one real server. */
const usualFlags: ReadonlyMap<string, readonly string[]> = new Map([['mh', ['mh-port']]]);

/** A scheduler for which no flags are named. */
export function usualChoice(scheduler: string): SchedulerChoice {
  return namedChoice(scheduler, usualFlags.get(scheduler) ?? none);
}

/** A scheduler with some flags; it always passes by what drains. */
function namedChoice(scheduler: string, flags: readonly string[]): SchedulerChoice {
  const all = new Set([...flags, ...(passingBy.get(scheduler) ?? none)]);
  return { scheduler, flags: all.size === 0 ? none : [...all].toSorted() };
}
