import type { FlagSpec } from './flag-table.ts';

type FieldSpec = Omit<FlagSpec, 'name' | 'field' | 'configPath' | 'help' | 'fileOnly'> & {
  /** A flag that says the same. */
  readonly flag?: string;
};

/** A field of KubeletConfiguration; it is read by its path. */
export function kubeletField(path: string, spec: FieldSpec, help: string): FlagSpec {
  const { flag, ...rest } = spec;
  if (flag === undefined) return { ...rest, name: path, configPath: path, fileOnly: true, help };
  return { ...rest, name: flag, field: path, configPath: path, help };
}

/** One that is taken and changes nothing: why is said where it is given another value than its default. */
export function idleField(path: string, spec: FieldSpec, noEffect: string): FlagSpec {
  return { ...kubeletField(path, spec, noEffect), noEffect };
}

export const bool = { type: 'bool', default: false } as const;
export const on = { type: 'bool', default: true } as const;
export const text = { type: 'string', default: '' } as const;
export const texts = { type: 'list' } as const;
/** A map of names to texts. */
export const pairs = { type: 'list', item: 'pair' } as const;
export const anything = { type: 'list', item: 'any' } as const;

export function int(usual: number): { readonly type: 'int'; readonly default: number } {
  return { type: 'int', default: usual };
}

/** One that cannot be left out in Go: zero is its default. */
export function intSet(usual: number): ReturnType<typeof int> & { readonly zeroIsUnset: true } {
  return { ...int(usual), zeroIsUnset: true };
}

export function duration(ms: number): {
  readonly type: 'duration';
  readonly default: number;
  readonly zeroIsUnset: true;
} {
  return { type: 'duration', default: ms, zeroIsUnset: true };
}

export function oneOf(
  usual: string,
  ...others: readonly string[]
): { readonly type: 'enum'; readonly default: string; readonly values: readonly string[] } {
  return { type: 'enum', default: usual, values: [usual, ...others] };
}
