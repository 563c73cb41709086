import { hash } from 'node:crypto';
import type { ChainName, Rule } from './state.ts';

/**
 * Choices a chain may hold before it is split by the hash of their keys. A connection goes past half of them
 * (40 ns each with legacy tools, 80 with nft), and each chain less is two entries less in what legacy tools rewrite whole.
 */
export const maxChoices = 64;

/** Something that is chosen with a probability of weight / sum of weights. */
export interface Choice {
  /** What is hashed: `ip:port`. */
  readonly key: string;
  readonly weight: number;
  /** The rule that takes the choice, with the given match in it ('' where no die is cast). */
  rule(statistic: string): Rule;
}

/** The rules of a pool's chain, and the chains below it. */
export interface RandomTree {
  readonly rules: readonly Rule[];
  readonly chains: ReadonlyMap<ChainName, readonly Rule[]>;
}

/** What can be chosen in one chain: a choice, or a chain below that stands for several. */
interface Option {
  readonly weight: number;
  rule(statistic: string): Rule;
}

/** Matches with probability `weight` / `total`, to the 10 decimals the kernel can tell apart. */
export function statisticMatch(weight: number, total: number): string {
  if (weight >= total) return '';
  return `-m statistic --mode random --probability ${(weight / total).toFixed(10)}`;
}

/**
 * A weighted random choice in O(log n) rules: over `maxChoices`, chains are split by the octal digits
 * of a hash of the key, so one choice more or less rewrites only the chains above it.
 */
export function randomTree(
  choices: readonly Choice[],
  chainName: (path: string) => ChainName,
): RandomTree {
  const chains = new Map<ChainName, readonly Rule[]>();
  if (choices.length <= maxChoices) return { rules: cast(choices), chains };
  const placed = choices.map((choice) => ({ choice, digits: hashDigits(choice.key) }));
  return { rules: split(placed, '', chainName, chains), chains };
}

interface Placed {
  readonly choice: Choice;
  readonly digits: string;
}

function split(
  placed: readonly Placed[],
  path: string,
  chainName: (path: string) => ChainName,
  chains: Map<ChainName, readonly Rule[]>,
): readonly Rule[] {
  if (placed.length <= maxChoices || path.length >= hashLength) {
    return cast(placed.map(({ choice }) => choice));
  }
  const groups = Map.groupBy(placed, ({ digits }) => digits.charAt(path.length));
  const digits = [...groups.keys()].toSorted();
  const first = digits[0];
  if (first !== undefined && digits.length === 1) {
    return split(placed, path + first, chainName, chains);
  }
  const options = digits.map((digit): Option => {
    const group = groups.get(digit) ?? [];
    const [only] = group;
    if (only && group.length === 1) return only.choice;
    const name = chainName(path + digit);
    chains.set(name, split(group, path + digit, chainName, chains));
    const weight = group.reduce((sum, { choice }) => sum + choice.weight, 0);
    return {
      weight,
      rule: (statistic) => ({
        args: statistic === '' ? `-g ${name}` : `${statistic} -g ${name}`,
        origin: undefined,
      }),
    };
  });
  return cast(options);
}

/** One after the other, each with its share of what is left; the last takes the rest. */
function cast(options: readonly Option[]): readonly Rule[] {
  let left = options.reduce((sum, { weight }) => sum + weight, 0);
  return options.map((option) => {
    const rule = option.rule(statisticMatch(option.weight, left));
    left -= option.weight;
    return rule;
  });
}

/** 21 octal digits: the first 63 bits of the hash. */
const hashLength = 21;

function hashDigits(key: string): string {
  const bits = hash('sha256', key, 'buffer').readBigUInt64BE() >> 1n;
  return bits.toString(8).padStart(hashLength, '0');
}
