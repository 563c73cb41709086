import { plainLine } from '../compared.ts';
import type { ComparedLine, ComparedPart, ComparedSection } from '../compared.ts';
import { baseChainLines, rulesInFront } from './base-chains.ts';
import { tableOrder } from './diff.ts';
import { findGeneration } from './generation.ts';
import { printedForm, writtenForm } from './printed-rules.ts';
import { isGeneratedChain } from './read.ts';
import type { Observed, ObservedTable } from './read.ts';
import { remainsOf } from './remains.ts';
import { chains } from './static-rules.ts';
import type { Chain, ChainName, IptablesState, TableName } from './state.ts';

/**
 * The rules that are wanted beside those that are there: our chains, and the jumps to them in their order. Chains of others do not
 * count, nor does what the kubelet has in KUBE-FIREWALL, nor the comment by which a restore is known; rules of others in built-in
 * chains do where they leave nothing for our jumps.
 */
export function comparedRules(wanted: IptablesState, observed: Observed): readonly ComparedPart[] {
  const remains = remainsOf(observed, wanted);
  return tableOrder.map((table) => {
    const stale = remains.chains.filter((each) => each.table === table).map(({ chain }) => chain);
    return {
      name: table,
      sections: [
        jumpSection(
          table,
          wanted,
          observed[table],
          remains.jumps[table].map(({ rule }) => rule),
        ),
        ...chainSections(wanted.tables[table], observed[table], stale),
      ],
    };
  });
}

function jumpSection(
  table: TableName,
  { jumps }: IptablesState,
  observed: ObservedTable,
  stray: readonly string[],
): ComparedSection {
  const { wanted, found } = baseChainLines(table, jumps, observed);
  const inFront = rulesInFront(table, jumps, observed).filter(({ takesAll }) => !takesAll);
  return {
    name: 'jumps',
    wanted: wanted.map(plainLine),
    found: [...found, ...stray.map((rule) => `-A ${rule}`)].map(plainLine),
    inFront: inFront.map(({ rule }) => `-A ${rule}`),
  };
}

function chainSections(
  wanted: ReadonlyMap<ChainName, Chain>,
  observed: ObservedTable,
  stale: readonly ChainName[],
): readonly ComparedSection[] {
  const generated = [...observed.chains.keys()].filter(isGeneratedChain);
  const names = new Set([...wanted.keys(), ...generated, ...stale]);
  return [...names].toSorted().map((name) => {
    const chain = wanted.get(name);
    const found = observed.chains.get(name);
    return {
      name: `chain ${name}`,
      wanted: chain && wantedLines(chain),
      found: found && foundLines(name, found, chain),
    };
  });
}

function wantedLines({ name, rules }: Chain): readonly ComparedLine[] {
  return rules.map(({ args, origin }) => ({
    text: `-A ${name} ${printedForm(args)}`,
    object: origin?.name,
  }));
}

function foundLines(
  name: ChainName,
  found: readonly string[],
  wanted: Chain | undefined,
): readonly ComparedLine[] {
  const own = new Set(wanted?.rules.map(({ args }) => printedForm(args)));
  const owner = wanted && ownerOf(wanted);
  return found
    .filter((args) => findGeneration(args) === undefined)
    .map(writtenForm)
    .filter((args) => name !== chains.firewall || own.has(args))
    .map((args) => ({ text: `-A ${name} ${args}`, object: objectOf(args) ?? owner }));
}

/** Of a rule that we did not ask for, what its comment says: `default/web:http cluster IP`, upstream's `default/web:http -> 10…`. */
function objectOf(args: string): string | undefined {
  return /--comment "([a-z0-9-]+\/[a-z0-9-]+(?::[a-z0-9-]+)?)[ "]/.exec(args)?.[1];
}

/** The service port that a chain as a whole is for. */
function ownerOf({ rules }: Chain): string | undefined {
  const [first] = rules;
  const name = first?.origin?.name;
  return rules.every(({ origin }) => origin?.name === name) ? name : undefined;
}
