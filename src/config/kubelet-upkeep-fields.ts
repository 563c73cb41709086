import { parseDuration } from './duration.ts';
import { evictionSignals, evictionThresholds, isThreshold } from './eviction-config.ts';
import type {
  EvictionConfig,
  EvictionSignal,
  ImageGcConfig,
  ShutdownGroup,
} from './eviction-config.ts';
import { isFields } from './file-document.ts';
import type { FlagValues } from './flag-table.ts';
import { isInt32, isQuantity } from './go-number.ts';

type Pairs = Readonly<Record<string, string>>;

const usualEviction = {
  'memory.available': '100Mi',
  'nodefs.available': '10%',
  'nodefs.inodesFree': '5%',
  'imagefs.available': '15%',
  'imagefs.inodesFree': '5%',
} as const satisfies Partial<Record<EvictionSignal, string>>;

const mostPercent = 100;
const systemCritical = 2_000_000_000;

/** Reads what keeps a node from filling up, and what is done when its machine is shut down; problems are told, and have a stand-in. */
export class UpkeepFields {
  readonly #flags: FlagValues;
  readonly #problem: (field: string, text: string) => void;

  constructor(flags: FlagValues, problem: (field: string, text: string) => void) {
    this.#flags = flags;
    this.#problem = problem;
  }

  /** Hard thresholds by signal, as they are written; those that are switched off are none. */
  evictionHard(): Pairs {
    const field = 'evictionHard';
    const given = this.#thresholds(field);
    if (!this.#flags.given(field)) return usualEviction;
    const isMerged = this.#flags.bool('mergeDefaultEvictionSettings');
    const all: Pairs = isMerged ? { ...usualEviction, ...given } : given;
    return Object.fromEntries(Object.entries(all).filter(([, text]) => isThreshold(text)));
  }

  eviction(hard: Pairs): EvictionConfig {
    const soft = this.#thresholds('evictionSoft');
    const graceMs = this.#graces();
    for (const signal of Object.keys(soft)) {
      if (isSignal(signal) && graceMs[signal] === undefined)
        this.#problem('evictionSoftGracePeriod', `${signal} is missing, evictionSoft has it`);
    }
    return {
      thresholds: evictionThresholds({ hard, soft, graceMs, reclaim: this.#reclaim() }),
      maxPodGraceSeconds: this.#flags.number('evictionMaxPodGracePeriod'),
      transitionMs: this.#atLeast('evictionPressureTransitionPeriod', 0),
    };
  }

  imageGc(): ImageGcConfig {
    const [high, low] = ['imageGCHighThresholdPercent', 'imageGCLowThresholdPercent'] as const;
    const highPercent = this.#percent(high);
    const lowPercent = this.#percent(low);
    if (lowPercent >= highPercent)
      this.#problem(low, `${lowPercent} is not below ${high}, which is ${highPercent}`);
    const minAgeMs = this.#atLeast('imageMinimumGCAge', 0);
    const maxAgeMs = this.#atLeast('imageMaximumGCAge', 0);
    if (maxAgeMs > 0 && maxAgeMs <= minAgeMs)
      this.#problem('imageMaximumGCAge', 'has to be above imageMinimumGCAge, or 0');
    return { highPercent, lowPercent, minAgeMs, maxAgeMs };
  }

  /** By priority, the lowest first; none: a shutdown is not waited for. */
  shutdown(): readonly ShutdownGroup[] {
    const [all, critical] = ['shutdownGracePeriod', 'shutdownGracePeriodCriticalPods'] as const;
    const allMs = this.#shutdownTime(all);
    const criticalMs = this.#shutdownTime(critical);
    const groups = this.#groups();
    if (criticalMs > allMs)
      this.#problem(critical, `is longer than ${all}, which is for all pods together`);
    if (groups.length > 0 && (allMs > 0 || criticalMs > 0))
      this.#problem('shutdownGracePeriodByPodPriority', `cannot be together with ${all}`);
    if (groups.length > 0) return groups;
    if (allMs === 0) return [];
    return [
      { priority: 0, seconds: Math.floor((allMs - criticalMs) / 1000) },
      { priority: systemCritical, seconds: Math.floor(criticalMs / 1000) },
    ];
  }

  #shutdownTime(field: string): number {
    const ms = this.#atLeast(field, 0);
    if (ms > 0 && ms < 1000) this.#problem(field, 'has to be 0, or a second at least');
    return ms;
  }

  #groups(): readonly ShutdownGroup[] {
    const field = 'shutdownGracePeriodByPodPriority';
    const given = this.#flags.list(field).flatMap((text) => JSON.parse(text) as unknown);
    const groups = given.flatMap((each): readonly ShutdownGroup[] => {
      const { priority = 0, shutdownGracePeriodSeconds: seconds = 0 } = isFields(each) ? each : {};
      if (isFields(each) && isWhole(priority) && isWhole(seconds) && seconds >= 0)
        return [{ priority, seconds }];
      const shown = JSON.stringify(each);
      this.#problem(field, `${shown} is not a priority and its shutdownGracePeriodSeconds`);
      return [];
    });
    if (new Set(groups.map(({ priority }) => priority)).size < groups.length)
      this.#problem(field, 'has a priority twice');
    return groups.toSorted((a, b) => a.priority - b.priority);
  }

  #thresholds(field: string): Pairs {
    const given = this.#pairs(field);
    for (const [signal, text] of Object.entries(given)) {
      if (!isSignal(signal)) this.#unknown(field, signal);
      else if (!isAmount(text)) this.#notAmount(field, signal, text);
      else if (!/[1-9]/.test(text.replace(/[eE].*$/, '')) && !text.endsWith('%'))
        this.#problem(
          field,
          `${signal}: ${JSON.stringify(text)} is not above 0; 0% switches it off`,
        );
    }
    return given;
  }

  #reclaim(): Pairs {
    const field = 'evictionMinimumReclaim';
    const given = this.#pairs(field);
    for (const [signal, text] of Object.entries(given)) {
      if (!isSignal(signal)) this.#unknown(field, signal);
      else if (!isAmount(text)) this.#notAmount(field, signal, text);
    }
    return given;
  }

  #graces(): Readonly<Record<string, number>> {
    const field = 'evictionSoftGracePeriod';
    const entries = Object.entries(this.#pairs(field)).map(([signal, text]) => {
      const ms = parseDuration(text);
      if (!isSignal(signal)) this.#unknown(field, signal);
      else if (ms === undefined || ms < 0)
        this.#problem(field, `${signal}: ${JSON.stringify(text)} is not a duration such as 1m30s`);
      return [signal, Math.max(0, ms ?? 0)] as const;
    });
    return Object.fromEntries(entries);
  }

  #unknown(field: string, signal: string): void {
    this.#problem(field, `${JSON.stringify(signal)} is not one of ${evictionSignals.join(', ')}`);
  }

  #notAmount(field: string, signal: string, text: string): void {
    this.#problem(
      field,
      `${signal}: ${JSON.stringify(text)} is neither a quantity nor a percentage`,
    );
  }

  #percent(field: string): number {
    const value = this.#flags.number(field);
    if (value < 0 || value > mostPercent)
      this.#problem(field, `${value} is not 0 to ${mostPercent}`);
    return value;
  }

  #atLeast(field: string, least: number): number {
    const value = this.#flags.number(field);
    if (value < least) this.#problem(field, `${value} is below ${least}`);
    return value;
  }

  #pairs(field: string): Pairs {
    const pairs = this.#flags.list(field).map((text) => {
      const at = text.indexOf('=');
      return [text.slice(0, at), text.slice(at + 1)] as const;
    });
    return Object.fromEntries(pairs);
  }
}

function isSignal(text: string): text is EvictionSignal {
  return (evictionSignals as readonly string[]).includes(text);
}

/** What is not below 0, and no more than all there is. */
function isAmount(text: string): boolean {
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text)?.[1];
  if (percent !== undefined) return Number(percent) <= mostPercent;
  return isQuantity(text) && !text.startsWith('-');
}

function isWhole(value: unknown): value is number {
  return typeof value === 'number' && isInt32(value);
}
