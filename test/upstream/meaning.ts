import type { Outcome } from '../../src/graph/interpret.ts';
import { toNumber } from '../../src/graph/rational.ts';
import { hostPort } from '../../src/ip/address.ts';
import type { Family } from '../../src/ip/address.ts';
import { parseTables } from '../../src/walk/parse.ts';
import type { ParsedTables } from '../../src/walk/parse.ts';
import { walk } from '../../src/walk/traverse.ts';
import type { WalkOutcome } from '../../src/walk/traverse.ts';
import type { NodeLab } from '../support/node-lab.ts';
import { isMasqueraded, localAddresses } from './expectation.ts';
import type { Expectation } from './expectation.ts';
import type { Difference } from './compare.ts';
import type { LabQuestion } from './questions.ts';

/** Upstream writes probabilities with ten decimals and the kernel keeps 31 bits, once a split. */
const rounding = 1e-8;

/** Share of the packets by how they end. */
type Shares = ReadonlyMap<string, number>;

/** The rules a node has, of both families. */
export async function rulesOf(lab: NodeLab): Promise<Readonly<Record<Family, ParsedTables>>> {
  const [ipv4 = '', ipv6 = ''] = await Promise.all(
    ['iptables-save', 'ip6tables-save'].map(async (tool) => lab.onNode(tool)),
  );
  return { ipv4: parseTables(ipv4), ipv6: parseTables(ipv6) };
}

/** Questions for which the rules mean something else than `interpret` says, shares included. */
export function compareMeaning(
  rules: Readonly<Record<Family, ParsedTables>>,
  expectation: Expectation,
  questions: readonly LabQuestion[],
): readonly Difference[] {
  return questions.flatMap((question) => {
    const outcomes = expectation.outcomes(question);
    const wanted = sharesOf(outcomes.map((outcome) => told(question, outcome)));
    const theirs = sharesOf(simulated(rules[question.family], question).map(simulatedTold));
    if (close(wanted, theirs)) return [];
    const ours = texts(wanted);
    return [{ question, outcomes, wanted: ours, ours, theirs: texts(theirs) }];
  });
}

function simulated(
  rules: ParsedTables,
  { actor, source, to, port, proto }: LabQuestion,
): readonly WalkOutcome[] {
  return walk(
    rules,
    { localAddresses, sets: new Map() },
    {
      source,
      destination: to,
      destinationPort: port,
      protocol: proto,
      sourcePort: 40_000,
      inInterface: actor === 'node' ? undefined : actor,
      outInterface: 'any',
      state: 'NEW',
    },
  );
}

function told(question: LabQuestion, outcome: Outcome): readonly [string, number] {
  const share = toNumber(outcome.probability);
  if (outcome.kind !== 'endpoint') return [outcome.kind, share];
  const where = hostPort(outcome.endpoint.address, outcome.endpoint.port);
  return [`${where} ${isMasqueraded(question, outcome) ? 'replaced' : 'kept'}`, share];
}

function simulatedTold(outcome: WalkOutcome): readonly [string, number] {
  const { kind, destination, port, translated, masqueraded, probability } = outcome;
  if (kind !== 'delivered') return [kind, probability];
  if (!translated) return ['pass', probability];
  return [`${hostPort(destination, port)} ${masqueraded ? 'replaced' : 'kept'}`, probability];
}

function sharesOf(list: readonly (readonly [string, number])[]): Shares {
  const shares = new Map<string, number>();
  for (const [text, share] of list) shares.set(text, (shares.get(text) ?? 0) + share);
  return shares;
}

function close(a: Shares, b: Shares): boolean {
  return (
    a.size === b.size &&
    Array.from(a).every(([text, share]) => Math.abs(share - (b.get(text) ?? 0)) < rounding)
  );
}

function texts(shares: Shares): readonly string[] {
  return Array.from(shares, ([text, share]) => `${text} ${share.toFixed(9)}`).toSorted();
}
