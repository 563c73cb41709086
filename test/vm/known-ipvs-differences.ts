import { healthRow } from '../upstream/health.ts';
import { knownDifferences, only } from '../upstream/known-differences.ts';
import type { KnownDifference } from '../upstream/known-differences.ts';
import type { RawService } from '../upstream/objects.ts';
import type { LabQuestion } from '../upstream/questions.ts';

/** Rows of the iptables mode that hold in this mode too. */
const shared = new Set([healthRow, 'two services that claim one address, port and protocol']);

/** The rows of docs/differences.md for the ipvs mode. */
export const knownIpvsDifferences: readonly KnownDifference[] = [
  ...knownDifferences.filter(({ row }) => shared.has(row)),
  {
    row: 'a traffic policy `Local` without an endpoint on the node',
    shows: {
      asked: ({ outcomes }) => outcomes.every(({ kind }) => kind === 'drop'),
      upstream: (ends) => ends.length > 0 && ends.every((end) => end.includes(':')),
      switchyard: only('timeout'),
    },
  },
  {
    row: 'a pod of another node that this node leads to itself',
    shows: {
      asked: ({ question, outcomes }) =>
        question.actor === 'remote' &&
        outcomes.some(
          (outcome) => outcome.kind === 'endpoint' && outcome.endpoint.address === question.source,
        ),
      upstream: (ends, { wanted }) =>
        ends.includes('timeout') && ends.every((end) => end === 'timeout' || wanted.includes(end)),
      switchyard: (ends, { wanted }) => ends.every((end) => wanted.includes(end)),
    },
  },
  {
    row: 'clients of an IPv6 cluster IP that are no pods',
    shows: {
      asked: ({ question: { family, frontend, actor } }) =>
        family === 'ipv6' && frontend === 'cluster IP' && (actor === 'client' || actor === 'node'),
      upstream: asWantedButKept,
      switchyard: (ends, { wanted }) => ends.every((end) => wanted.includes(end)),
    },
  },
  {
    row: "the node's own connection to an external address of a service with `externalTrafficPolicy: Local`",
    shows: {
      asked: ({ question }, { services }) =>
        question.actor === 'node' &&
        question.frontend !== 'cluster IP' &&
        serviceOf(question, services)?.spec.externalTrafficPolicy === 'Local',
      upstream: asWantedButKept,
      switchyard: (ends, { wanted }) => ends.every((end) => wanted.includes(end)),
    },
  },
  {
    row: 'a service without endpoints',
    shows: 'both refuse; who asks is told no more',
  },
];

/** The same endpoints, who see the client's own address. */
function asWantedButKept(
  ends: readonly string[],
  { wanted }: { readonly wanted: readonly string[] },
): boolean {
  const kept = new Set(wanted.map((end) => end.replace(/ replaced$/, ' kept')));
  return ends.length > 0 && ends.every((end) => kept.has(end));
}

function serviceOf(
  { service }: LabQuestion,
  services: readonly RawService[],
): RawService | undefined {
  return services.find(({ metadata }) => metadata.name === service);
}
