import { answersNodePorts } from '../../src/graph/packet.ts';
import type { RuleGraph } from '../../src/graph/rule-graph.ts';
import type { Difference } from './compare.ts';
import type { Expectation } from './expectation.ts';
import { healthRow } from './health.ts';
import type { RawService } from './objects.ts';
import type { LabQuestion } from './questions.ts';

/** What a difference is judged by, besides itself. */
export interface Circumstances {
  /** Everything that was there when it was seen. */
  readonly services: readonly RawService[];
  readonly graph: RuleGraph;
  /** What `interpret` would say if a service, perhaps another one of its name, were there without the others. */
  readonly alone: (service: RawService) => Expectation;
}

/**
 * Whether a proxy may end a request so. Ends: `refused`, `timeout`, `10.244.0.5:8080 kept`, `moves`; rules alone, by
 * the simulator, say the same words, and `pass` where packets are left as they are.
 */
type Allowed = (ends: readonly string[], difference: Difference, where: Circumstances) => boolean;

/** A difference that answers, or the meaning of rules, can show. */
interface Visible {
  /** What is asked, and of which objects. */
  readonly asked: (difference: Difference, where: Circumstances) => boolean;
  readonly upstream: Allowed;
  readonly switchyard: Allowed;
}

/** A row of docs/differences.md. */
export interface KnownDifference {
  /** The first cell of the row. */
  readonly row: string;
  /** A text says why neither answers nor rules can show it (its test stands in the row). */
  readonly shows: string | Visible;
}

export const knownDifferences: readonly KnownDifference[] = [
  {
    row: "the node's own connection to an external or load balancer address of a service without endpoints",
    shows: {
      asked: ({ question, outcomes }) =>
        question.actor === 'node' &&
        ['external IP', 'load balancer IP'].includes(question.frontend) &&
        outcomes.every(({ kind }) => kind === 'reject'),
      upstream: only('timeout', 'pass'),
      switchyard: only('refused'),
    },
  },
  {
    row: 'node port of a service without (local) endpoints, on an address that `--nodeport-addresses` leaves out',
    shows: {
      asked: ({ question, outcomes }, { graph }) =>
        question.frontend.startsWith('node port') &&
        !answersNodePorts(graph.node, question.to) &&
        outcomes.every(({ kind }) => kind === 'pass'),
      upstream: only('refused', 'timeout'),
      // Nobody listens there.
      switchyard: only('refused', 'pass'),
    },
  },
  {
    row: 'refusal of TCP (no endpoints)',
    shows: 'both are refusals; the kernel says no more to who asks',
  },
  {
    row: 'two services that claim one address, port and protocol',
    shows: {
      asked: ({ question }, { services }) => claimants(question, services).length > 1,
      upstream: asAnyOf((question, services) => claimants(question, services).slice(1)),
      switchyard: asAnyOf((question, services) => claimants(question, services).slice(0, 1)),
    },
  },
  {
    row: "an external IP that is the node's own address, on the number of another service's node port",
    shows: {
      asked: ({ question }, { services, graph }) =>
        question.to === graph.node.nodeAddress &&
        claimants(question, services).length > 0 &&
        nodePortHolders(question, services).length > 0,
      upstream: asAnyOf(claimants),
      // Were the external IP's the older one, both proxies would answer alike.
      switchyard: asAnyOf((question, services) => {
        const rivals = [...claimants(question, services), ...nodePortHolders(question, services)];
        return rivals.toSorted(byAge).slice(0, 1);
      }),
    },
  },
  {
    row: 'two services with one `healthCheckNodePort`',
    shows: 'the API server gives a node port to one service only',
  },
  {
    row: 'an address that is both load balancer and external IP of one service with `loadBalancerSourceRanges`',
    shows: {
      asked: ({ question }, { services }) => guardedTwice(question, services).length > 0,
      upstream: asAnyOf((question, services) =>
        guardedTwice(question, services).map(({ spec, ...rest }) => ({
          ...rest,
          spec: { ...spec, loadBalancerSourceRanges: [] },
        })),
      ),
      switchyard: only('timeout'),
    },
  },
  // Not by a service's own answers: health.ts asks for it, and says which answers are allowed.
  { row: healthRow, shows: { asked: never, upstream: never, switchyard: never } },
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
    shows: {
      asked: ({ question }) => question.frontend === 'returning clients',
      upstream: (ends, { wanted }) =>
        ends.includes('moves') && ends.every((end) => end === 'moves' || wanted.includes(end)),
      switchyard: (ends, { wanted }) => ends.every((end) => wanted.includes(end)),
    },
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

/**
 * The row of a difference among those that are known; undefined: nobody knows of it. Switchyard always does what is
 * wanted of it.
 */
export function rowOf(
  difference: Difference,
  where: Circumstances,
  known: readonly KnownDifference[] = knownDifferences,
): string | undefined {
  const { ours, theirs, wanted } = difference;
  if (ours.length !== wanted.length || !ours.every((text) => wanted.includes(text)))
    return undefined;
  return known.find(
    ({ shows }) =>
      typeof shows !== 'string' &&
      shows.asked(difference, where) &&
      shows.upstream(theirs.map(endOf), difference, where) &&
      shows.switchyard(ours.map(endOf), difference, where),
  )?.row;
}

function never(): boolean {
  return false;
}

/** All ends are among these. */
export function only(...allowed: readonly string[]): Allowed {
  return (ends) => ends.length > 0 && ends.every((end) => allowed.includes(end));
}

/** As one of these services would be answered for if the others were not there. */
function asAnyOf(
  choose: (question: LabQuestion, services: readonly RawService[]) => readonly RawService[],
): Allowed {
  return (ends, { question }, { services, alone }) =>
    choose(question, services).some((service) => {
      const answers = alone(service).answers(question);
      return ends.length > 0 && ends.every((end) => answers.includes(end));
    });
}

/** `10.244.0.5:8080 kept` of `10.244.0.5:8080 kept 0.500000000`, and the words that packets have for verdicts. */
function endOf(text: string): string {
  const end = text.replace(/ \d\.\d{9}$/, '');
  return end === 'reject' ? 'refused' : end === 'drop' ? 'timeout' : end;
}

function isProto(protocol: string, proto: 'tcp' | 'udp'): boolean {
  return protocol.toLowerCase() === proto;
}

/** Who claims what is asked for, the one that is to have it first: a cluster IP, then the older. */
function claimants(
  { to, port, proto }: LabQuestion,
  services: readonly RawService[],
): readonly RawService[] {
  const hasPort = ({ spec }: RawService): boolean =>
    (spec.ports ?? []).some((each) => each.port === port && isProto(each.protocol, proto));
  const isClusterIP = ({ spec }: RawService): boolean => (spec.clusterIPs ?? []).includes(to);
  return services
    .filter(
      (service) =>
        hasPort(service) &&
        (isClusterIP(service) || isExternalIP(service, to) || isBalancerIP(service, to)),
    )
    .toSorted((a, b) => Number(isClusterIP(b)) - Number(isClusterIP(a)) || byAge(a, b));
}

function nodePortHolders(
  { port, proto }: LabQuestion,
  services: readonly RawService[],
): readonly RawService[] {
  return services.filter(({ spec }) =>
    spec.ports?.some((each) => each.nodePort === port && isProto(each.protocol, proto)),
  );
}

/** Services with source ranges that have the address as load balancer and as external IP. */
function guardedTwice({ to }: LabQuestion, services: readonly RawService[]): readonly RawService[] {
  return services.filter(
    (service) =>
      (service.spec.loadBalancerSourceRanges ?? []).length > 0 &&
      isExternalIP(service, to) &&
      isBalancerIP(service, to),
  );
}

function isExternalIP({ spec }: RawService, to: string): boolean {
  return (spec.externalIPs ?? []).includes(to);
}

/** An address of mode Proxy is the balancer's own: nodes do not capture it. */
function isBalancerIP({ status }: RawService, to: string): boolean {
  const list = status?.loadBalancer?.ingress ?? [];
  return list.some(({ ip, ipMode }) => ip === to && ipMode !== 'Proxy');
}

/** The older first; of one age the one of the smaller name. */
function byAge({ metadata: a }: RawService, { metadata: b }: RawService): number {
  const [first = '', second = ''] = [a.creationTimestamp, b.creationTimestamp];
  if (first !== second) return first < second ? -1 : 1;
  return a.name < b.name ? -1 : 1;
}
