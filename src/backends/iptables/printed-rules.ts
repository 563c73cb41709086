import type { Chain } from './state.ts';

/**
 * Tells our rules in what the tools print. They print rules as we write them; in case another version
 * of them does not, what is read for the first time after everything was written counts as ours, and from
 * then on a chain is compared with what was read of it first.
 */
export class PrintedRules {
  #asWritten = true;
  /** Everything was written, and nothing has been read since. */
  #isFresh = false;
  #prints = new WeakMap<Chain, string>();

  /** Everything was written anew. */
  written(): void {
    this.#isFresh = true;
    this.#prints = new WeakMap();
  }

  /** Everything was read and found to be ours. */
  read(): void {
    this.#isFresh = false;
  }

  /** The place of the first rule that is not ours, or undefined. Both lists are equally long. */
  firstOther(chain: Chain, ours: readonly string[], found: readonly string[]): number | undefined {
    const at = ours.findIndex((rule, i) => !isPrintOf(rule, found[i]));
    if (at === -1) return undefined;
    // The generation is a number that changes; everything behind it stays.
    const print = found.filter((rule) => !rule.includes('"switchyard generation ')).join('\n');
    const first = this.#prints.get(chain);
    if (first === print) return undefined;
    if (this.#isFresh) this.#asWritten = false;
    if (first !== undefined || this.#asWritten) return at;
    this.#prints.set(chain, print);
    return undefined;
  }
}

/** Whether the tools print a chain like this, one text a rule. */
export function arePrintsOf({ rules }: Chain, found: readonly string[]): boolean {
  return rules.length === found.length && rules.every(({ args }, i) => isPrintOf(args, found[i]));
}

function isPrintOf(rule: string, found: string | undefined): boolean {
  return rule === found || (found !== undefined && printedForm(rule) === writtenForm(found));
}

/** What the tools print of a rule, without what they add: what they would assume anyway. */
export function writtenForm(found: string): string {
  return found.replace(/ --mask \S+ --rsource/, '').replace('--nfacct-name  ', '--nfacct-name ');
}

/** A rule of ours as it comes back: the kernel keeps probabilities as multiples of 2^-31, printed with eleven digits. */
export function printedForm(rule: string): string {
  return rule.replace(/--probability (\S+)/, (_, chance: string) => {
    const kept = Math.round(Number(chance) * 2 ** 31) / 2 ** 31;
    return `--probability ${kept.toFixed(11)}`;
  });
}
