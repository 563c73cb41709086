import { familyLabel } from '../../ip/address.ts';
import type { ObservedRules, TableRemoval } from './cleanup-plan.ts';
import { isGeneratedChain } from './read.ts';

/** The restore file of a removal; '' where nothing goes. */
export function removalText(removals: readonly TableRemoval[]): string {
  const lines = removals.flatMap(({ table, rules, chains: gone, emptied }) => [
    `*${table}`,
    ...[...gone, ...emptied].map((name) => `:${name} - [0:0]`),
    ...rules.map(({ chain, args }) => `-D ${chain} ${args}`),
    ...gone.map((name) => `-X ${name}`),
    'COMMIT',
  ]);
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** Removals as lines for people, one a table. */
export function removalLines(
  { variant, family }: Pick<ObservedRules, 'variant' | 'family'>,
  removals: readonly TableRemoval[],
): readonly string[] {
  return removals.map(({ table, rules, chains: gone, emptied }) => {
    const fixed = gone.filter((name) => !isGeneratedChain(name));
    const generated = gone.length - fixed.length;
    const parts = [
      ...(rules.length === 0 ? [] : [counted(rules.length, 'jump')]),
      ...fixed,
      ...(generated === 0 ? [] : [`${counted(generated, 'chain')} of services`]),
      ...(emptied.length === 0 ? [] : [`the rules of ${emptied.join(', ')}`]),
    ];
    return `${table} (${familyLabel(family)}, ${variant}): ${parts.join(', ')}`;
  });
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
