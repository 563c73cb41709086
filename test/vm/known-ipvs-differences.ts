import { healthRow } from '../upstream/health.ts';
import { knownDifferences, only } from '../upstream/known-differences.ts';
import type { KnownDifference } from '../upstream/known-differences.ts';
import type { RawService } from '../upstream/objects.ts';
import type { LabQuestion } from '../upstream/questions.ts';

/** Rows of the iptables mode that hold in this mode too. */
const shared = new Set([
  healthRow,
  'two services that claim one address, port and protocol',
  "an external IP that is the node's own address, on the number of another service's node port",
]);

/** Rows that depend on the order in which upstream happens to visit its services. */
export const seenSometimes: ReadonlySet<string> = new Set([
  "an external IP that is the node's own address, on the number of another service's node port",
]);

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
    row: 'a service with `internalTrafficPolicy: Local` and no endpoint on the node',
    shows: {
      asked: ({ question, outcomes }, { services }) =>
        question.frontend === 'cluster IP' &&
        serviceOf(question, services)?.spec.internalTrafficPolicy === 'Local' &&
        outcomes.every(({ kind }) => kind === 'drop'),
      upstream: only('refused'),
      switchyard: only('timeout'),
    },
  },
  {
    row: 'a load balancer IP with `loadBalancerSourceRanges` of a service without endpoints',
    shows: {
      asked: ({ question, outcomes }) =>
        question.frontend === 'load balancer IP' && outcomes.every(({ kind }) => kind === 'reject'),
      upstream: only('timeout'),
      switchyard: only('refused'),
    },
  },
  {
    row: 'a cluster IP at a port that is the number of a node port',
    shows: {
      asked: ({ question: { frontend, port } }, { services }) =>
        frontend === 'cluster IP' && services.some((each) => hasNodePort(each, port)),
      upstream: asWantedButReplaced,
      switchyard: (ends, { wanted }) => ends.every((end) => wanted.includes(end)),
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

/** The same endpoints, who do not see the client's own address. */
function asWantedButReplaced(
  ends: readonly string[],
  { wanted }: { readonly wanted: readonly string[] },
): boolean {
  const replaced = new Set(wanted.map((end) => end.replace(/ kept$/, ' replaced')));
  return ends.length > 0 && ends.every((end) => replaced.has(end));
}

function hasNodePort({ spec }: RawService, port: number): boolean {
  return spec.ports?.some(({ nodePort }) => nodePort === port) === true;
}

function serviceOf(
  { service }: LabQuestion,
  services: readonly RawService[],
): RawService | undefined {
  return services.find(({ metadata }) => metadata.name === service);
}
