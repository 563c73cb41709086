import { registered } from './check.ts';
import { failure, ok, skipped, warning } from './finding.ts';
import type { Finding, Way } from './finding.ts';
import type { AccessReading, ApiReading, ListReading } from './readings.ts';

type Answered = Extract<ApiReading, { kind: 'answered' }>;

/** A right that the agent asks of the API server. */
export interface ApiNeed {
  /** The end of the finding's id: `api.services`. */
  readonly id: string;
  readonly group: string;
  readonly resource: string;
  readonly verbs: readonly string[];
  /** Only this Node is asked for, by name. */
  readonly isOwnNode?: true;
  /** Undefined: nothing works without. */
  readonly without?: string;
  /** Clusters before 1.33 have none. */
  readonly isOptionalKind?: true;
  /** Left out: everybody asks. */
  readonly ways?: readonly Way[];
}

const watching = ['list', 'watch'] as const;

/** In the order in which the agent needs them (docs/operating.md, "Rights"). */
export const apiNeeds: readonly ApiNeed[] = [
  { id: 'services', group: '', resource: 'services', verbs: watching },
  { id: 'endpointslices', group: 'discovery.k8s.io', resource: 'endpointslices', verbs: watching },
  { id: 'nodes', group: '', resource: 'nodes', verbs: watching, isOwnNode: true },
  {
    id: 'all-nodes',
    group: '',
    resource: 'nodes',
    verbs: ['list'],
    without:
      'ipvs mode takes no external and no load balancer IP, lest it takes another node’s address',
    ways: ['ipvs'],
  },
  {
    id: 'servicecidrs',
    group: 'networking.k8s.io',
    resource: 'servicecidrs',
    verbs: watching,
    without: 'marks are not hoisted: a few more rules',
    isOptionalKind: true,
  },
  {
    id: 'events',
    group: 'events.k8s.io',
    resource: 'events',
    verbs: ['create', 'patch'],
    without: 'there are no Events',
  },
];

/** Whether the API server answers, knows who asks, and lets him read what Services need. */
export const api = registered<ApiReading>({
  id: 'api',
  read: async (readings) => readings.api(),
  judge: (reading) => {
    switch (reading.kind) {
      case 'unused':
        return [skipped('api.server', '--source names no API server')];
      case 'unusable':
        return [failure('api.server', reading.problem, reading.cure)];
      case 'silent': {
        const text = `${reading.server} does not answer: ${reading.problem}`;
        return [
          failure('api.server', text, `look from this node: curl -vk ${reading.server}/version`),
        ];
      }
      case 'answered':
        return [server(reading), ...apiNeeds.map((need) => access(need, reading))];
      default:
        return reading satisfies never;
    }
  },
});

function server({ server: url, status, version, roundTripMs, lists }: Answered): Finding {
  const id = 'api.server';
  const shown = `${url} answers${version === '' ? '' : ` (${version})`} in ${Math.round(roundTripMs)} ms`;
  if (status === 401 || lists.some((list) => list.status === 401)) {
    const cure =
      'give credentials that are still good: see credentials.*, and kubectl --kubeconfig=FILE auth whoami';
    return failure(id, `${shown}, and does not know who asks (401)`, cure);
  }
  if (status >= 500) return failure(id, `${shown}, with ${status}`, 'see the API server’s own log');
  return ok(id, shown);
}

function access(need: ApiNeed, { access: rights, lists }: Answered): Finding {
  const { resource, verbs, ways } = need;
  const id = `api.${need.id}`;
  const list = lists.find((each) => each.need === need.id);
  const mine = rights.filter((each) => each.need === need.id);
  if (list?.status === 404 && need.isOptionalKind) {
    return ok(id, `this cluster has no ${resource} (before Kubernetes 1.33)`, ways);
  }
  const problem = problemOf(list, mine, resource);
  if (problem !== undefined) return refused(need, problem, list?.status);
  const unknown = mine.filter(({ answer }) => answer === 'unknown');
  if (unknown.length > 0 && list === undefined) {
    return skipped(
      id,
      `may it ${verbs.join(', ')} ${resource}? ${unknown[0]?.reason ?? 'not told'}`,
      ways,
    );
  }
  const sure = verbs.filter((verb) => !unknown.some((each) => each.verb === verb));
  const which = resource !== 'nodes' ? resource : need.isOwnNode ? 'its own Node' : 'all Nodes';
  return ok(id, `may ${sure.join(', ')} ${which}`, ways);
}

function problemOf(
  list: ListReading | undefined,
  rights: readonly AccessReading[],
  resource: string,
): string | undefined {
  // the rule that grants it is the cure
  if (list !== undefined && list.status !== 200)
    return list.reason.split('; its ClusterRole', 1)[0];
  const denied = rights.filter(({ answer }) => answer === 'denied');
  const [first] = denied;
  if (first === undefined) return undefined;
  const why = first.reason === '' ? '' : `: ${first.reason}`;
  return `may not ${denied.map(({ verb }) => verb).join(', ')} ${resource}${why}`;
}

/** Too many requests, no answer, or a failure of the server's own: that is no matter of rights. */
function isPassing(status: number | undefined): boolean {
  return status !== undefined && (status === 0 || status === 429 || status >= 500);
}

function refused(need: ApiNeed, problem: string, status: number | undefined): Finding {
  const { group, resource, verbs, without, ways } = need;
  const id = `api.${need.id}`;
  const rule = `{apiGroups: ["${group}"], resources: [${resource}], verbs: [${verbs.join(', ')}]}`;
  const cure = isPassing(status)
    ? 'run it again; if it lasts, see the API server’s own log'
    : `give its ClusterRole the rule ${rule} (upstream’s role system:node-proxier has them all)`;
  if (without === undefined) return failure(id, problem, cure, ways);
  return warning(id, `${problem}; ${without}`, cure, ways);
}
