import type { Answer } from '../../src/cli/demo/actor.ts';
import type { Outcome } from '../../src/graph/interpret.ts';
import type { Address } from '../../src/ip/address.ts';
import type { NodeLab } from '../support/node-lab.ts';
import { reached } from './expectation.ts';
import type { Expectation } from './expectation.ts';
import type { LabQuestion } from './questions.ts';
import type { TwinCluster } from './twin-cluster.ts';
import { inTurns } from './turns.ts';

/** A question the twins answered otherwise, or both otherwise than `interpret` says. */
export interface Difference {
  readonly question: LabQuestion;
  /** What the rule graph means for the packet. */
  readonly outcomes: readonly Outcome[];
  readonly wanted: readonly string[];
  readonly ours: readonly string[];
  readonly theirs: readonly string[];
}

export interface Comparison {
  readonly differences: readonly Difference[];
  readonly questions: readonly LabQuestion[];
  /** Questions that had to be asked again, with fresh source ports and more patience. */
  readonly askedAgain: number;
}

const questionsAtOnce = 96;
const stickyTimes = 5;
/** More than a `recent` list keeps for each of two endpoints. */
const manyClients = 320;

interface Patience {
  readonly rounds: number;
  /** For answers, and where nothing but a time-out is expected. */
  readonly answerMs: number;
  readonly silenceMs: number;
}

// A refusal over IPv6 may need the first retransmission: a second.
const first: Patience = { rounds: 8, answerMs: 2500, silenceMs: 300 };
const again: Patience = { rounds: 16, answerMs: 4000, silenceMs: 2500 };

/** Asks both twins all questions, with real packets. */
export async function compareAnswers(
  cluster: TwinCluster,
  expectation: Expectation,
  questions: readonly LabQuestion[],
  isKnown: (difference: Difference) => boolean,
): Promise<Comparison> {
  let askedAgain = 0;
  const met = cluster.labs().map(() => new Met(expectation));
  const both = async (question: LabQuestion, wanted: readonly string[], patience: Patience) =>
    Promise.all(
      cluster
        .labs()
        .map(async ([, lab], n) =>
          answersOf(lab, question, wanted, patience, met[n] ?? new Met(expectation)),
        ),
    );
  const one = async (question: LabQuestion): Promise<readonly Difference[]> => {
    const wanted = expectation.answers(question);
    const [ours = [], theirs = []] = await both(question, wanted, first);
    if (same(ours, wanted) && same(theirs, wanted)) return [];
    const outcomes = expectation.outcomes(question);
    const atFirst = { question, outcomes, wanted, ours, theirs };
    if (isKnown(atFirst)) return [atFirst];
    askedAgain++;
    const [oursAgain = [], theirsAgain = []] = await both(question, wanted, again);
    if (same(oursAgain, wanted) && same(theirsAgain, wanted)) return [];
    return [{ question, outcomes, wanted, ours: oursAgain, theirs: theirsAgain }];
  };
  const groups = [...Map.groupBy(questions, (each) => expectation.clientOf(each)).values()];
  const found = await inTurns(groups, questionsAtOnce, async (group) => inTurns(group, 1, one));
  return { differences: found.flat(2), questions, askedAgain };
}

/** Whom clients with affinity have met. */
class Met {
  readonly #expectation: Expectation;
  readonly #endpoints = new Map<string, string>();

  constructor(expectation: Expectation) {
    this.#expectation = expectation;
  }

  of(question: LabQuestion): string | undefined {
    return this.#endpoints.get(this.#expectation.clientOf(question));
  }

  set(question: LabQuestion, endpoint: string): void {
    this.#endpoints.set(this.#expectation.clientOf(question), endpoint);
  }
}

/** How requests ended, sorted; asked until all that is wanted was seen, or what is not. */
async function answersOf(
  lab: NodeLab,
  question: LabQuestion,
  wanted: readonly string[],
  patience: Patience,
  met: Met,
): Promise<readonly string[]> {
  if (question.frontend === 'returning clients') return returning(lab, question, wanted, patience);
  if (question.sticky) return stickyAnswers(lab, question, wanted, patience, met);
  const seen = new Set<string>();
  const isDone = (): boolean =>
    seen.size >= wanted.length || [...seen].some((text) => !wanted.includes(text));
  for (let round = 0; round < patience.rounds && !isDone(); round++) {
    const times = wanted.length === 1 ? 1 : wanted.length * 2;
    const together = Array.from({ length: times }, async (_, n) =>
      askOnce(lab, fromCrowd(question, round * times + n), wanted, patience),
    );
    for (const text of await Promise.all(together)) seen.add(text);
    if (wanted.length === 1) break;
  }
  return [...seen].toSorted();
}

/** One client asks in turn: as is wanted where it meets one endpoint alone, the one it knows, else whom it met. */
async function stickyAnswers(
  lab: NodeLab,
  question: LabQuestion,
  wanted: readonly string[],
  patience: Patience,
  met: Met,
): Promise<readonly string[]> {
  const known = met.of(question);
  const isOffered = known !== undefined && wanted.map(endpointOf).includes(known);
  const seen = new Set(isOffered ? [known] : []);
  const answers = new Set<string>();
  const times = wanted.length === 1 ? 1 : stickyTimes;
  for (let n = 0; n < times; n++) {
    const text = await askOnce(lab, question, wanted, patience);
    answers.add(text);
    seen.add(endpointOf(text));
  }
  const [only = ''] = seen;
  if (seen.size > 1) return ['moves', ...answers].toSorted();
  if (only.includes(':')) met.set(question, only);
  return [...answers].every((text) => wanted.includes(text)) ? wanted : [...answers];
}

/** Hundreds of clients ask, and ask again: as is wanted where each meets whom it met before. */
async function returning(
  lab: NodeLab,
  question: LabQuestion,
  wanted: readonly string[],
  patience: Patience,
): Promise<readonly string[]> {
  const round = async (): Promise<readonly string[]> =>
    inTurns(Array.from({ length: manyClients }).keys().toArray(), 8, async (n) =>
      askOnce(lab, fromCrowd(question, n), wanted, patience),
    );
  const [before, after] = [await round(), await round()];
  const answers = [...new Set([...before, ...after])].toSorted();
  return before.every((text, n) => text === after[n]) ? answers : ['moves', ...answers];
}

/** `10.244.0.5:8080` of `10.244.0.5:8080 kept`. */
function endpointOf(text: string): string {
  return text.split(' ')[0] ?? '';
}

async function askOnce(
  lab: NodeLab,
  { actor, source, to, port, proto }: LabQuestion,
  wanted: readonly string[],
  { answerMs, silenceMs }: Patience,
): Promise<string> {
  const timeoutMs = wanted.includes('timeout') ? silenceMs : answerMs;
  return told(await lab.probe(actor, { to, port, proto, from: source, timeoutMs }), source);
}

/** The same question from the n-th of hundreds of clients, where it is a crowd that asks. */
function fromCrowd(question: LabQuestion, n: number): LabQuestion {
  return question.crowd === undefined ? question : { ...question, source: question.crowd(n) };
}

function told(answer: Answer, source: Address): string {
  if (typeof answer === 'string') return answer;
  const { answeredBy, sourceSeen } = answer;
  return reached(answeredBy, source, sourceSeen);
}

function same(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((text) => b.includes(text));
}
