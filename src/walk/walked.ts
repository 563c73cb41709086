import { mostAssumptions } from './traverse.ts';
import type { WalkOutcome } from './traverse.ts';
import type { Assumption, Step, Trail } from './packet.ts';

/** The ends of a packet's ways, where these answers are given to what nobody here can answer. */
export interface WalkedCase {
  /** Where several sets of answers lead to the same, each. */
  readonly assumed: readonly (readonly Assumption[])[];
  readonly outcomes: readonly WalkOutcome[];
}

/** The outcomes by what was assumed, equal cases together. */
export function casesOf(outcomes: readonly WalkOutcome[]): readonly WalkedCase[] {
  const byAnswers = Map.groupBy(outcomes, ({ assumed }) => JSON.stringify(assumed));
  const cases = completed([...byAnswers.values()]);
  const bySignature = Map.groupBy(cases, (list) => signature(list));
  return Array.from(bySignature.values(), (same) => ({
    assumed: same.map(([first]) => first?.assumed ?? []),
    outcomes: same[0] ?? [],
  }));
}

/**
 * A share of the packets may end before a question is asked that another one meets: it belongs to the cases of both answers.
 */
function completed(cases: readonly WalkOutcome[][]): readonly WalkOutcome[][] {
  const whole = cases.filter(
    ([first]) => first !== undefined && !cases.some((other) => extendsBy(other, first)),
  );
  const parts = cases.filter((list) => !whole.includes(list));
  return whole.map((list) => {
    const [first] = list;
    const early = parts.filter(
      ([part]) =>
        first !== undefined && part !== undefined && isPrefix(part.assumed, first.assumed),
    );
    return [...early.flat(), ...list];
  });
}

function extendsBy([other]: readonly WalkOutcome[], first: WalkOutcome): boolean {
  return (
    other !== undefined &&
    other.assumed.length > first.assumed.length &&
    isPrefix(first.assumed, other.assumed)
  );
}

function isPrefix(part: readonly Assumption[], whole: readonly Assumption[]): boolean {
  return (
    part.length <= whole.length &&
    part.every(({ asked, holds }, i) => whole[i]?.asked === asked && whole[i].holds === holds)
  );
}

function signature(list: readonly WalkOutcome[]): string {
  const texts = list.map(
    ({ kind, destination, port, masqueraded, translated, newSource, probability }) =>
      [kind, destination, port, masqueraded, translated, newSource, probability.toFixed(6)].join(
        ' ',
      ),
  );
  return texts.toSorted().join('\n');
}

/** Whether so much was not known that some of it was taken not to hold. */
export function isCutShort({ assumed }: WalkedCase): boolean {
  return assumed.some((each) => each.length >= mostAssumptions);
}

/** The steps of a trail, the first one first. */
export function stepsOf(trail: Trail | undefined): readonly Step[] {
  const steps: Step[] = [];
  for (let at = trail; at !== undefined; at = at.before) steps.push(at.step);
  return steps.toReversed();
}

/** What all paths begin with, what each has of its own, and what all end with; of one path all is the beginning. */
export function partedPaths(paths: readonly (readonly Step[])[]): {
  readonly start: readonly Step[];
  readonly ways: readonly (readonly Step[])[];
  readonly end: readonly Step[];
} {
  const [first = []] = paths;
  if (paths.length <= 1) return { start: first, ways: [], end: [] };
  const from = commonSteps(paths);
  const rests = paths.map((path) => path.slice(from));
  const ending = commonSteps(rests.map((path) => path.toReversed()));
  return {
    start: first.slice(0, from),
    ways: rests.map((path) => path.slice(0, path.length - ending)),
    end: first.slice(first.length - ending),
  };
}

function commonSteps(paths: readonly (readonly Step[])[]): number {
  const [first = [], ...others] = paths;
  const differs = first.findIndex((step, i) => others.some((path) => !isSameStep(path[i], step)));
  return differs === -1 ? first.length : differs;
}

function isSameStep(a: Step | undefined, b: Step): boolean {
  return a?.table === b.table && a.chain === b.chain && a.number === b.number;
}
