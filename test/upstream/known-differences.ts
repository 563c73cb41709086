import { answersNodePorts } from '../../src/graph/packet.ts';
import type { RuleGraph } from '../../src/graph/rule-graph.ts';
import type { Difference } from './compare.ts';
import { healthRow } from './health.ts';
import type { RawService } from './objects.ts';

/** What a difference is judged by, besides itself. */
export interface Circumstances {
  /** Everything that was there when it was seen. */
  readonly services: readonly RawService[];
  readonly graph: RuleGraph;
}

/** A row of docs/differences.md. */
export interface KnownDifference {
  /** The first cell of the row. */
  readonly row: string;
  /** Whether an answer or a rule's meaning differs so; a text says why neither can show it (its test stands in the row). */
  readonly shows: string | ((difference: Difference, where: Circumstances) => boolean);
}

export const knownDifferences: readonly KnownDifference[] = [
  {
    row: "the node's own connection to an external or load balancer address of a service without endpoints",
    shows: ({ question, outcomes, theirs }) =>
      question.actor === 'node' &&
      ['external IP', 'load balancer IP'].includes(question.frontend) &&
      outcomes.every(({ kind }) => kind === 'reject') &&
      !isAnswered(theirs),
  },
  {
    row: 'node port of a service without (local) endpoints, on an address that `--nodeport-addresses` leaves out',
    shows: ({ question, outcomes, theirs }, { graph }) =>
      question.frontend.startsWith('node port') &&
      !answersNodePorts(graph.node, question.to) &&
      outcomes.every(({ kind }) => kind === 'pass') &&
      !isAnswered(theirs),
  },
  {
    row: 'refusal of TCP (no endpoints)',
    shows: 'both are refusals; the kernel says no more to who asks',
  },
  {
    row: 'two services that claim one address, port and protocol',
    shows: ({ question: { to, port, proto } }, { services }) =>
      services.filter((service) => claims(service, to, port, proto)).length > 1,
  },
  {
    row: "an external IP that is the node's own address, on the number of another service's node port",
    shows: ({ question: { to, port, proto } }, { services, graph }) =>
      to === graph.node.nodeAddress &&
      services.some((service) => claims(service, to, port, proto)) &&
      services.some(({ spec }) =>
        spec.ports?.some((each) => each.nodePort === port && isProto(each.protocol, proto)),
      ),
  },
  {
    row: 'two services with one `healthCheckNodePort`',
    shows: 'the API server gives a node port to one service only',
  },
  {
    row: 'an address that is both load balancer and external IP of one service with `loadBalancerSourceRanges`',
    shows: ({ question: { to } }, { services }) =>
      services.some(
        ({ spec, status }) =>
          (spec.loadBalancerSourceRanges ?? []).length > 0 &&
          (spec.externalIPs ?? []).includes(to) &&
          (status?.loadBalancer?.ingress ?? []).some(({ ip }) => ip === to),
      ),
  },
  { row: healthRow, shows: () => false }, // not by a service's own answers: health.ts asks for it
  {
    row: 'a Service with `ipFamilies` and `clusterIP`, but without `clusterIPs`',
    shows: 'the API server fills in `clusterIPs`',
  },
  { row: 'a slice port without `name`', shows: 'the API server fills in the name' },
  {
    row: 'names of namespaces, objects and ports that the API server would refuse',
    shows: 'the API server refuses them',
  },
  {
    row: 'ClientIP affinity',
    shows: ({ question, theirs }) =>
      question.frontend === 'returning clients' && theirs.includes('moves'),
  },
  {
    row: 'twins of one endpoint in several slices',
    shows:
      'which of two twins that do not terminate wins is undefined upstream: where both agree it may be either',
  },
  { row: 'over 64 endpoints', shows: 'shares differ by the rounding of probabilities alone' },
  {
    row: 'stale UDP connection tracking entries',
    shows: 'each question is a new connection',
  },
  {
    row: 'Node addresses or ServiceCIDRs change',
    shows: 'the node stays as it is while questions are asked',
  },
  {
    row: 'rules flushed by somebody',
    shows: 'nobody flushes rules while questions are asked',
  },
  {
    row: 'rules saved with `iptables-save` and restored after a reboot',
    shows: 'nothing is saved and restored while questions are asked',
  },
  {
    row: '`--cleanup`',
    shows: 'nothing is cleaned up while questions are asked',
  },
];

/** The row of a difference; undefined: nobody knows of it. Switchyard always does what `interpret` says. */
export function rowOf(difference: Difference, where: Circumstances): string | undefined {
  const { ours, wanted } = difference;
  if (ours.length !== wanted.length || !ours.every((text) => wanted.includes(text)))
    return undefined;
  return knownDifferences.find(({ shows }) => typeof shows !== 'string' && shows(difference, where))
    ?.row;
}

function isAnswered(answers: readonly string[]): boolean {
  return answers.some((text) => /\b(kept|replaced)\b/.test(text));
}

function isProto(protocol: string, proto: 'tcp' | 'udp'): boolean {
  return protocol.toLowerCase() === proto;
}

function claims(
  { spec, status }: RawService,
  to: string,
  port: number,
  proto: 'tcp' | 'udp',
): boolean {
  const addresses = [
    ...(spec.clusterIPs ?? []),
    ...(spec.externalIPs ?? []),
    ...(status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip),
  ];
  return (
    addresses.includes(to) &&
    (spec.ports ?? []).some((each) => each.port === port && isProto(each.protocol, proto))
  );
}
