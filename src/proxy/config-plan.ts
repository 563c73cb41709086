import { isDeepStrictEqual } from 'node:util';
import type { ProxyConfig } from '../config/proxy-config.ts';
import { configEffects } from './config-effects.ts';
import type { Effect, FieldEffect, LivePart, SectionEffects } from './config-effects.ts';

/** One setting that changes. */
export interface PlannedChange {
  /** As the configuration file calls it. */
  readonly field: string;
  readonly from: string;
  readonly to: string;
  readonly effect: Effect;
}

/** What it takes to go from one configuration to another. */
export interface ConfigPlan {
  readonly changes: readonly PlannedChange[];
  /** The most that any change takes; `nothing`: the two are the same. */
  readonly how: 'nothing' | Effect['how'];
  /** Who takes up what is live. */
  readonly parts: ReadonlySet<LivePart>;
}

type Fields = Readonly<Record<string, unknown>>;

/** Compares two configurations, setting by setting. Pure; the changes stand in the order of the table. */
export function planChanges(before: ProxyConfig, after: ProxyConfig): ConfigPlan {
  const changes = Object.keys(configEffects).flatMap((key) =>
    changesOf(key as keyof ProxyConfig, before, after),
  );
  const hows = new Set(changes.map(({ effect }) => effect.how));
  const how = (['new process', 'restart', 'live'] as const).find((each) => hows.has(each));
  const parts = changes.flatMap(({ effect }) => (effect.how === 'live' ? [effect.part] : []));
  return { changes, how: how ?? 'nothing', parts: new Set(parts) };
}

/** `clusterCIDR: none → 10.244.0.0/16 (live)` */
export function changeText({ field, from, to, effect }: PlannedChange): string {
  const why = effect.how === 'live' ? '' : `: ${effect.why}`;
  return `${field}: ${from} → ${to} (${effect.how}${why})`;
}

function changesOf(
  key: keyof ProxyConfig,
  before: ProxyConfig,
  after: ProxyConfig,
): readonly PlannedChange[] {
  const entry = configEffects[key] as FieldEffect<unknown> | SectionEffects<Fields>;
  const compare = (field: FieldEffect<unknown>, from: unknown, to: unknown): PlannedChange[] => {
    if (isDeepStrictEqual(from, to)) return [];
    const { name, show, effect } = field;
    const found = typeof effect === 'function' ? effect(before, after) : effect;
    return [{ field: name, from: show(from), to: show(to), effect: found }];
  };
  if (!('fields' in entry)) return compare(entry, before[key], after[key]);
  const values = (config: ProxyConfig): Fields => config[key] as unknown as Fields;
  return Object.entries(entry.fields).flatMap(([name, field]) =>
    compare(field, values(before)[name], values(after)[name]),
  );
}
