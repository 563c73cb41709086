import type { Family } from '../../ip/address.ts';
import type { Address } from '../../ip/address.ts';
import { protocolText } from './chain-names.ts';
import { addressKey } from './dispatch-keys.ts';
import type { Forest } from './forest.ts';
import { hairpinMatch, hairpinSet } from './hairpin.ts';
import type { LoweredServicePort } from './leaf.ts';
import { markTargets, staticRule } from './static-rules.ts';
import type { IpsetSpec, LoweringOptions, Rule } from './state.ts';

/**
 * How hairpins are recognised. One bpf rule needs to know no endpoint; a set needs their addresses
 * and ports, and without both each address has a rule of its own, found by source.
 */
export class HairpinEndpoints {
  readonly #family: Family;
  readonly #options: LoweringOptions;
  /** Members of the set, with the number of pools that bring each. */
  readonly #members = new Map<string, number>();
  readonly #addresses = new Map<Address, number>();
  readonly #changed = new Set<Address>();
  #set: IpsetSpec | undefined;

  constructor(family: Family, options: LoweringOptions) {
    this.#family = family;
    this.#options = options;
  }

  add(lowered: LoweredServicePort): void {
    this.#count(lowered, 1);
  }

  remove(lowered: LoweredServicePort): void {
    this.#count(lowered, -1);
  }

  /** The set of all endpoints, where that is how hairpins are recognised. */
  set(): IpsetSpec | undefined {
    if (this.#options.features.hairpin !== 'ipset') return undefined;
    this.#set ??= {
      name: hairpinSet(this.#family),
      create: `hash:ip,port,ip family ${this.#family === 'ipv4' ? 'inet' : 'inet6'} hashsize 1024 maxelem 1048576`,
      members: [...this.#members.keys()].toSorted(),
    };
    return this.#set;
  }

  /** The rules that mark hairpins in KUBE-POSTROUTING, or accept them in KUBE-FORWARD. */
  rules(what: 'mark' | 'accept', forest: Forest): readonly Rule[] {
    const { features } = this.#options;
    if (features.hairpin === 'rules') {
      return forest.rules(what === 'mark' ? 'hairpinMarks' : 'hairpinAccepts');
    }
    const target = what === 'mark' ? this.#mark() : '-j ACCEPT';
    return [staticRule(`${hairpinMatch(this.#family, features.hairpin)} ${target}`)];
  }

  /** Puts the rules of endpoints that came or went into the trees. */
  plant(forest: Forest): void {
    const length = this.#family === 'ipv4' ? 32 : 128;
    for (const address of this.#changed) {
      const isThere = this.#addresses.has(address);
      const match = `-s ${address}/${length} -d ${address}/${length} -m conntrack --ctstate DNAT`;
      const key = addressKey(address);
      const rules = (target: string) => (isThere ? [staticRule(`${match} ${target}`)] : undefined);
      forest.set('hairpinMarks', key, rules(this.#mark()));
      forest.set('hairpinAccepts', key, rules('-j ACCEPT'));
    }
    this.#changed.clear();
  }

  #mark(): string {
    return markTargets(this.#options.masqueradeMark).set;
  }

  #count({ pools, protocol }: LoweredServicePort, by: 1 | -1): void {
    const { hairpin } = this.#options.features;
    if (hairpin === 'bpf') return;
    for (const { endpoints } of pools) {
      for (const { address, port } of endpoints) {
        if (hairpin === 'ipset') {
          const member = `${address},${protocolText(protocol)}:${port},${address}`;
          if (recount(this.#members, member, by)) this.#set = undefined;
        } else if (recount(this.#addresses, address, by)) {
          this.#changed.add(address);
        }
      }
    }
  }
}

/** Whether the key came or went. */
function recount<K>(counts: Map<K, number>, key: K, by: 1 | -1): boolean {
  const before = counts.get(key) ?? 0;
  const after = before + by;
  if (after > 0) counts.set(key, after);
  else counts.delete(key);
  return before === 0 || after === 0;
}
