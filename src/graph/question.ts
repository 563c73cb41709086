import type { Family } from '../ip/address.ts';
import { explainJson, explainText } from './explain.ts';
import { interpret } from './interpret.ts';
import { familyAsked, journeyOf, parseDestination } from './journey.ts';
import type { AskedFamily } from './journey.ts';
import { packetFrom } from './packet.ts';
import { SwitchyardError } from '../error.ts';

/** Where does a packet go? In the words that were typed. */
export interface Question {
  /** An address, `pod`, `node` or `outside`. */
  readonly from: string;
  /** `TO:PORT[/PROTO]` */
  readonly to: string;
  /** '' where the ends tell. */
  readonly family: string;
  /** The interface it arrives on; '' where that does not matter. */
  readonly inInterface: string;
  readonly output: 'text' | 'json';
}

/**
 * The answer, as text or JSON. A question that cannot be answered is a SwitchyardError of code `usage`. `where` Services are
 * known, for messages.
 */
export function answerQuestion(
  { from, to, family, inInterface, output }: Question,
  familyOf: (family: Family) => AskedFamily | undefined,
  where: string,
): string {
  const destination = parseDestination(to);
  const asked = familyAsked(family, from, destination, (each) => familyOf(each)?.graph);
  const part = familyOf(asked);
  if (part === undefined) {
    throw new SwitchyardError('usage', `${where} has no rules of family ${asked}`);
  }
  const { graph, servicePorts } = part;
  const journey = journeyOf(part, from, destination, where);
  const packet = packetFrom(graph.node, inInterface === '' ? journey : { ...journey, inInterface });
  const outcomes = interpret(graph, packet);
  const answer = output === 'json' ? explainJson : explainText;
  return `${answer({ graph, packet, outcomes, servicePorts }).trimEnd()}\n`;
}
