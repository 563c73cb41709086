import { hostPort } from '../ip/address.ts';
import type { Assumption, Step, WalkingPacket } from '../walk/packet.ts';
import type { WalkOutcome } from '../walk/traverse.ts';
import { isCutShort, partedPaths, stepsOf } from '../walk/walked.ts';
import type { WalkedCase } from '../walk/walked.ts';

/** A packet's ways through saved rules. */
export interface Walked {
  readonly packet: WalkingPacket;
  /** The file, as it was named. */
  readonly dump: string;
  /** What the rules do not tell and was taken to be so. */
  readonly granted: readonly string[];
  /** What decides besides, and is not in the dump. */
  readonly missing: readonly string[];
  readonly cases: readonly WalkedCase[];
}

/** A Service may have a thousand endpoints: nobody reads the way to each. */
const mostPaths = 5;

/** The ways for a terminal: where the packet ends, then by which rules. */
export function walkText({ packet, dump, granted, missing, cases }: Walked): string {
  const { source, destination, destinationPort, protocol } = packet;
  const lines = [
    `${source} → ${hostPort(destination, destinationPort)}/${protocol.toUpperCase()}, by the rules of ${dump}`,
    ...granted.map((each) => `taken for granted: ${each}`),
    ...missing.map((each) => `but: ${each}`),
    ...cases.flatMap((each) => ['', ...caseLines(each, packet, cases.length > 1)]),
  ];
  return `${lines.join('\n')}\n`;
}

/** The same for programs; probabilities are those of a case. */
export function walkJson({ packet, dump, granted, missing, cases }: Walked): string {
  const document = {
    dump,
    packet,
    granted,
    missing,
    cases: cases.map((each) => ({
      assumed: each.assumed,
      outcomes: each.outcomes.map(outcomeJson),
    })),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function outcomeJson({ trail, ...outcome }: WalkOutcome): object {
  const { kind, destination, port, translated, masqueraded, newSource, probability } = outcome;
  const path = stepsOf(trail);
  const service = serviceOf(path) ?? null;
  const source = newSource ?? null;
  return {
    kind,
    destination,
    port,
    translated,
    masqueraded,
    newSource: source,
    probability,
    service,
    path,
  };
}

function caseLines(
  each: WalkedCase,
  packet: WalkingPacket,
  isOneOfMany: boolean,
): readonly string[] {
  const paths = each.outcomes.map(({ trail }) => stepsOf(trail));
  const { start, ways, end } = partedPaths(paths);
  const shown = ways.slice(0, mostPaths);
  const more = ways.length - shown.length;
  return [
    ...assumptionLines(each, isOneOfMany),
    ...outcomeRows(each.outcomes, paths, packet),
    '',
    ...(paths.every((path) => path.length === 0) ? ['  no rule concerns it'] : []),
    ...start.map((step) => `  ${stepText(step)}`),
    ...shown.flatMap((way, i) => {
      const outcome = each.outcomes[i];
      const steps = way.map((step) => `    ${stepText(step)}`);
      return outcome === undefined ? steps : [`  to ${placeText(outcome)}:`, ...steps];
    }),
    ...(more > 0 ? [`  and ${more} more ways (--output=json has all)`] : []),
    ...(end.length > 0 ? ['  then, all of them:'] : []),
    ...end.map((step) => `    ${stepText(step)}`),
  ];
}

function assumptionLines(each: WalkedCase, isOneOfMany: boolean): readonly string[] {
  const { assumed } = each;
  const asked = new Set(assumed.flat().map((one) => one.asked));
  if (asked.size === 0) return [];
  const cut = isCutShort(each) ? ['(and whatever else is not understood does not hold)'] : [];
  if (!isOneOfMany) {
    return [`not understood, and all the same here: ${[...asked].join('; ')}`, ...cut];
  }
  return [...assumed.map((list) => `if ${list.map(assumptionText).join(', and ')}:`), ...cut];
}

function assumptionText({ asked, holds }: Assumption): string {
  return `${asked} (not understood) ${holds ? 'holds' : 'does not hold'}`;
}

function outcomeRows(
  outcomes: readonly WalkOutcome[],
  paths: readonly (readonly Step[])[],
  packet: WalkingPacket,
): readonly string[] {
  const rows = outcomes.map((outcome, i) => {
    const service = serviceOf(paths[i] ?? []);
    const whose = service === undefined ? '' : ` (${service})`;
    return [percent(outcome.probability), `${endText(outcome, packet)}${whose}`] as const;
  });
  const width = Math.max(...rows.map(([share]) => share.length));
  return rows.map(([share, text]) => `  ${share.padStart(width)}  ${text}`);
}

function endText(outcome: WalkOutcome, packet: WalkingPacket): string {
  switch (outcome.kind) {
    case 'reject':
      return 'rejected (the client is told at once)';
    case 'drop':
      return 'dropped (the client waits until it gives up)';
    case 'unknown':
      return 'a target that is not understood decides: see the last rule';
    case 'delivered':
      if (!outcome.translated && !outcome.masqueraded) {
        return 'passed on untouched (routed as if there were no Services)';
      }
      return `${placeText(outcome)}  ${sourceText(outcome, packet)}`;
    default:
      return outcome.kind satisfies never;
  }
}

function placeText({ destination, port }: WalkOutcome): string {
  return hostPort(destination, port);
}

function sourceText({ masqueraded, newSource }: WalkOutcome, { source }: WalkingPacket): string {
  if (newSource !== undefined) return `source replaced by ${newSource}`;
  return masqueraded
    ? "source replaced by the node's address (masquerade)"
    : `source ${source} kept`;
}

function stepText({ table, chain, number, text, chance }: Step): string {
  const share = chance === 1 ? '' : `  [${percent(chance)}]`;
  return number === 0
    ? `${table} ${chain}: ${text}`
    : `${table} ${chain} ${number}: ${text}${share}`;
}

function percent(probability: number): string {
  return `${(100 * probability).toFixed(2)} %`;
}

/** By the comments of kube-proxy and Switchyard: `default/web:http cluster IP`, `default/web:http -> 10.244.0.5:80`. */
function serviceOf(steps: readonly Step[]): string | undefined {
  const names = steps.flatMap(
    ({ text }) => /--comment "?([a-z0-9-]+\/[a-z0-9-]+(?::[a-z0-9-]+)?)[ "]/.exec(text)?.[1] ?? [],
  );
  return names.at(-1);
}
