import { familyLabel, familyOf, hostPort } from '../ip/address.ts';
import type { ServicePort, ServicePortKey } from '../services/service-port.ts';
import { choiceOf } from './choice.ts';
import type { Choice } from './choice.ts';
import { conflictText } from './claims.ts';
import { frontendId } from './frontends.ts';
import type { Outcome, Step, VerdictOutcome } from './interpret.ts';
import type { PodDetector } from './node-context.ts';
import { answersNodePorts } from './packet.ts';
import type { Packet } from './packet.ts';
import { toFraction, toPercent } from './rational.ts';
import type { Rational } from './rational.ts';
import type { Conflict, RuleGraph } from './rule-graph.ts';

/** What explain speaks of: `outcomes` are those of `interpret` for the packet. */
export interface Explained {
  readonly graph: RuleGraph;
  readonly packet: Packet;
  readonly outcomes: readonly Outcome[];
  /** Those the graph was compiled from: they know why their endpoints were chosen. */
  readonly servicePorts: ReadonlyMap<ServicePortKey, ServicePort>;
}

/**
 * Where a packet goes and why, for a terminal: who sends it, each step with the branches that were
 * and were not taken, how the endpoints were chosen, then each outcome with its exact share.
 */
export function explainText({ graph, packet, outcomes, servicePorts }: Explained): string {
  const { source, destination, destinationPort, protocol } = packet;
  const choice = choiceOf(graph, servicePorts, outcomes);
  const steps = [...stepsOf(outcomes).map(stepLine), ...choiceLines(choice)];
  const lines = [
    `${source} → ${hostPort(destination, destinationPort)}/${protocol}, on ${graph.node.nodeName}`,
    `source: ${sourceText(graph, packet)}`,
    '',
    ...(steps.length > 0 ? [...steps, ''] : []),
    ...outcomeLines(outcomes),
    ...conflictsOf(graph, packet).map((conflict) => `note: ${conflictText(conflict)}`),
  ];
  return `${lines.join('\n')}\n`;
}

/**
 * The same for programs: `{ packet, node, outcomes, choice, conflicts }`; probabilities are exact
 * fractions, `choice` is null where no endpoints were asked for.
 */
export function explainJson({ graph, packet, outcomes, servicePorts }: Explained): string {
  const document = {
    packet,
    node: graph.node.nodeName,
    outcomes: outcomes.map(({ probability, ...outcome }) => ({
      ...probabilityJson(probability),
      ...outcome,
    })),
    choice: choiceJson(choiceOf(graph, servicePorts, outcomes)),
    conflicts: conflictsOf(graph, packet),
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function choiceJson(choice: Choice | undefined): object | null {
  if (choice === undefined) return null;
  const { list, reason, leftOut } = choice;
  return {
    list,
    reason,
    leftOut: leftOut.map(({ endpoint: { address, port, nodeName, slice }, reason: why }) => ({
      endpoint: { address, port },
      nodeName,
      slice,
      reason: why,
    })),
  };
}

function probabilityJson(probability: Rational): object {
  return { probability: toFraction(probability), percent: toPercent(probability) };
}

function sourceText(graph: RuleGraph, packet: Packet): string {
  const detector = detectorText(graph.node.podDetector, familyLabel(familyOf(packet.source)));
  if (packet.fromPod && packet.fromNode)
    return `this node, which also counts as a pod (${detector})`;
  if (packet.fromPod) return `a pod of this node (${detector})`;
  if (packet.fromNode) return 'this node (one of its own addresses)';
  return graph.node.podDetector.kind === 'none'
    ? `elsewhere, or a pod: ${detector}`
    : `elsewhere: no address of this node, and no pod of it (${detector})`;
}

function detectorText(detector: PodDetector, family: string): string {
  switch (detector.kind) {
    case 'none':
      return `nothing tells pods from others in ${family}`;
    case 'cidr':
      return `pods are in ${detector.cidr}`;
    case 'interface':
      return `pods arrive on ${detector.name}`;
    case 'interfacePrefix':
      return `pods arrive on ${detector.prefix}*`;
    default:
      return detector satisfies never;
  }
}

/** The steps all outcomes share; what only one of them has is told in its own line. */
function stepsOf(outcomes: readonly Outcome[]): readonly Step[] {
  const path = outcomes[0]?.path ?? [];
  return path.filter(({ node }) => node !== 'endpoint' && node !== 'verdict');
}

const indents: Readonly<Record<Step['node'], number>> = {
  frontend: 0,
  guard: 1,
  branch: 1,
  pool: 2,
  endpoint: 3,
  verdict: 3,
};

function stepLine({ node, taken, text }: Step): string {
  const indent = '  '.repeat(indents[node]);
  return `  ${indent}${taken ? '→' : '✗'} ${node}: ${text}`;
}

/** A Service may have a thousand endpoints: nobody reads them all. */
const mostLeftOut = 10;

function choiceLines(choice: Choice | undefined): readonly string[] {
  if (!choice?.notable) return [];
  const indent = '  '.repeat(indents.endpoint + 1);
  const { leftOut } = choice;
  const lines = leftOut
    .slice(0, mostLeftOut)
    .map(
      ({ endpoint, reason }) =>
        `✗ endpoint: ${hostPort(endpoint.address, endpoint.port)}: ${reason}`,
    );
  const more = leftOut.length - lines.length;
  if (more > 0) lines.push(`✗ and ${more} more endpoints`);
  return [`choice: ${choice.reason}`, ...lines].map((line) => `${indent}${line}`);
}

function outcomeLines(outcomes: readonly Outcome[]): readonly string[] {
  const rows = outcomes.map((outcome) =>
    outcome.kind === 'endpoint'
      ? [
          toFraction(outcome.probability),
          toPercent(outcome.probability),
          hostPort(outcome.endpoint.address, outcome.endpoint.port),
          outcome.reason,
        ]
      : [verdictText(outcome)],
  );
  const widths = [0, 1, 2].map((column) =>
    Math.max(...rows.map((row) => (row.length > 1 ? (row[column]?.length ?? 0) : 0))),
  );
  return rows.map((row) => {
    if (row.length === 1) return row[0] ?? '';
    const [share = '', percent = '', endpoint = '', reason = ''] = row;
    const [shareWidth = 0, percentWidth = 0, endpointWidth = 0] = widths;
    return `  ${share.padStart(shareWidth)}  ${percent.padStart(percentWidth)}  ${endpoint.padEnd(endpointWidth)}  ${reason}`;
  });
}

const verdictWords: Readonly<Record<VerdictOutcome['kind'], string>> = {
  reject: 'rejected (the client is told at once)',
  drop: 'dropped (the client waits until it gives up)',
  pass: 'passed on untouched (routed as if there were no Services)',
};

function verdictText({ kind, reason }: VerdictOutcome): string {
  return `  ${verdictWords[kind]}: ${reason}`;
}

/** Who else wanted the address, or the node port, the packet goes to. */
function conflictsOf(graph: RuleGraph, packet: Packet): readonly Conflict[] {
  const { destination, destinationPort, protocol } = packet;
  const direct = frontendId(destination, protocol, destinationPort);
  const nodePort = frontendId(undefined, protocol, destinationPort);
  const isNodePort = answersNodePorts(graph.node, destination);
  return graph.conflicts.filter(
    ({ claimed }) => claimed === direct || (isNodePort && claimed === nodePort),
  );
}
