import type { Family } from '../../ip/address.ts';
import type { SetName } from './state.ts';

/**
 * A hairpin (an endpoint that reached itself through a service) is known after DNAT by source =
 * destination. This classic BPF program compares the two addresses of the IP header word by word:
 * load a destination word, move it to X, load the source word, jump on unequal to `ret 0`.
 */
export function hairpinBytecode(family: Family): string {
  const { source, destination, words } =
    family === 'ipv4'
      ? { source: 12, destination: 16, words: 1 }
      : { source: 8, destination: 24, words: 4 };
  const refuse = 4 * words + 1;
  const program: string[] = [];
  for (let word = 0; word < words; word++) {
    const otherwise = refuse - (4 * word + 3) - 1;
    program.push(`32 0 0 ${destination + 4 * word}`, '7 0 0 0', `32 0 0 ${source + 4 * word}`);
    program.push(`29 0 ${otherwise} 0`);
  }
  program.push('6 0 0 65535', '6 0 0 0');
  return `${program.length},${program.join(',')}`;
}

/** The ipset of `endpoint,protocol:port,endpoint`, where the kernel has no xt_bpf. */
export function hairpinSet(family: Family): SetName {
  return (family === 'ipv4' ? 'KUBE-HAIRPIN' : 'KUBE-6-HAIRPIN') as SetName;
}

/** The match of a hairpin packet in POSTROUTING and FORWARD, where it is one for all endpoints. */
export function hairpinMatch(family: Family, by: 'bpf' | 'ipset'): string {
  const match =
    by === 'bpf'
      ? `-m bpf --bytecode "${hairpinBytecode(family)}"`
      : `-m set --match-set ${hairpinSet(family)} dst,dst,src`;
  return `-m conntrack --ctstate DNAT ${match}`;
}
