import { defaultFeatures } from '../backends/iptables/state.ts';
import type { Features } from '../backends/iptables/state.ts';
import type { FlagSpec, FlagValues } from '../config/flag-table.ts';
import { SwitchyardError } from '../error.ts';

const featureValues = {
  hairpin: ['bpf', 'ipset', 'rules'],
  affinity: ['ipset', 'recent'],
  randomFully: ['true', 'false'],
  comments: ['all', 'auto', 'none'],
  guard: ['ipset', 'range'],
} as const;

/** What tools and kernel can do, for all modes. */
export type AssumedFeatures = Features & { readonly guard: 'ipset' | 'range' };

/** Says what no manifest tells. */
export const featuresFlag = {
  name: 'features',
  type: 'list',
  placeholder: 'NAME=VALUE',
  help: 'What tools and kernel can do: hairpin=bpf|ipset|rules, affinity=ipset|recent, randomFully=true|false, comments=all|auto|none, guard=ipset|range (userspace mode).',
} as const satisfies FlagSpec;

/** With what is usual where nobody says otherwise. */
export function featuresOf(flags: FlagValues): AssumedFeatures {
  return { ...defaultFeatures, guard: 'ipset', ...givenFeatures(flags) };
}

/** What an operator says of tools and kernel. */
export function givenFeatures(flags: FlagValues): Partial<AssumedFeatures> {
  const chosen: Record<string, string | boolean> = {};
  for (const text of flags.list('features')) {
    const [name = '', value = ''] = text.split('=');
    const key = name.replaceAll(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
    const allowed: readonly string[] | undefined = isFeature(key) ? featureValues[key] : undefined;
    if (!allowed?.includes(value)) {
      const expected = Object.entries(featureValues).map(
        ([n, values]) => `${n}=${values.join('|')}`,
      );
      throw new SwitchyardError(
        'usage',
        `--features: ${JSON.stringify(text)} is not one of ${expected.join(', ')}`,
      );
    }
    chosen[key] = key === 'randomFully' ? value === 'true' : value;
  }
  return chosen;
}

function isFeature(name: string): name is keyof typeof featureValues {
  return Object.hasOwn(featureValues, name);
}
