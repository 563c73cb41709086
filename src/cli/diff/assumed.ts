import type { Observed } from '../../backends/iptables/read.ts';
import type { Features } from '../../backends/iptables/state.ts';
import { chains } from '../../backends/iptables/static-rules.ts';
import type { AssumedNode } from '../offline-states.ts';

/**
 * What tools and kernel can do, as rules that are there show it: manifests do not tell, and to try it out would be to write.
 * Where there are none, all.
 */
export function assumedOf({ nat, filter }: Observed): AssumedNode<Features> {
  const postrouting = nat.chains.get(chains.postrouting)?.join('\n') ?? '';
  const forward = filter.chains.get(chains.forward) ?? [];
  const all = [...nat.chains.values()];
  const isRecent = all.some((rules) => rules.some((rule) => rule.includes('-m recent ')));
  return {
    features: {
      hairpin: hairpinOf(postrouting),
      affinity: isRecent ? 'recent' : 'ipset',
      randomFully: postrouting.includes('--random-fully') || !postrouting.includes('MASQUERADE'),
      comments: 'auto',
      ...(forward.some((rule) => rule.includes('-m nfacct ')) && { nfacct: true }),
    },
    conntrackBeLiberal: forward.length > 0 && !forward.some((rule) => rule.includes('INVALID')),
  };
}

/** What is taken from rules that are there and is not what most nodes have: a change of these is then no difference. '' where nothing is. */
export function assumedText(
  { features, conntrackBeLiberal }: AssumedNode<Features>,
  given: Partial<Features>,
): string {
  const { hairpin, affinity, randomFully } = features;
  const usual = { hairpin: 'bpf', affinity: 'ipset', randomFully: true } as const;
  const taken = Object.entries({ hairpin, affinity, randomFully }).flatMap(([name, value]) => {
    const key = name as keyof typeof usual;
    return value === usual[key] || given[key] !== undefined ? [] : `${name}=${String(value)}`;
  });
  if (conntrackBeLiberal) taken.push('no rule against invalid packets');
  if (taken.length === 0) return '';
  return `taken from the rules that are there, so that it is no difference: ${taken.join(', ')} (--features says otherwise)`;
}

function hairpinOf(postrouting: string): Features['hairpin'] {
  if (postrouting === '' || postrouting.includes('-m bpf ')) return 'bpf';
  return postrouting.includes('-HAIRPIN ') ? 'ipset' : 'rules';
}
