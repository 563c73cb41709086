import { hostPort } from '../ip/address.ts';
import { cidrContains } from '../ip/cidr.ts';
import { frontendId } from './frontends.ts';
import { compareFrontends } from './order.ts';
import { answersNodePorts } from './packet.ts';
import type { Packet } from './packet.ts';
import { askedText, isWeighted } from './pool.ts';
import { one, rational } from './rational.ts';
import type { Rational } from './rational.ts';
import type {
  Branch,
  Frontend,
  FrontendId,
  Guard,
  Origin,
  Pool,
  PoolEndpoint,
  PoolId,
  PoolTarget,
  RuleGraph,
  Verdict,
} from './rule-graph.ts';

/** One step of a packet through the graph, readable by people. */
export interface Step {
  readonly node: 'frontend' | 'guard' | 'branch' | 'pool' | 'endpoint' | 'verdict';
  /** False: the packet did not go this way, and the text says why. */
  readonly taken: boolean;
  readonly id?: string;
  readonly text: string;
  readonly origin?: Origin;
}

/** The packet reaches an endpoint. */
interface EndpointOutcome {
  readonly kind: 'endpoint';
  readonly probability: Rational;
  readonly endpoint: PoolEndpoint;
  readonly masquerade: boolean;
  /** The endpoint is the source itself: masqueraded, or its reply would never pass the node. */
  readonly hairpin: boolean;
  /** Why the source address is or is not replaced. */
  readonly reason: string;
  readonly frontend: FrontendId;
  readonly pool: PoolId;
  readonly affinitySeconds: number | undefined;
  readonly origin: Origin;
  readonly path: readonly Step[];
}

/** The packet ends in a verdict; `pass`: it is no service's traffic and is routed as it is. */
export interface VerdictOutcome {
  readonly kind: 'reject' | 'drop' | 'pass';
  readonly probability: Rational;
  readonly reason: string;
  readonly origin: Origin | undefined;
  readonly path: readonly Step[];
}

export type Outcome = EndpointOutcome | VerdictOutcome;

/**
 * What the graph means for a packet: its outcomes, whose probabilities add up to exactly 1. They are
 * those of a first connection, without affinity state.
 *
 * Candidates are the frontend of the destination, then the node port where the destination is a
 * node-port address. The first that leads to a pool wins; else the first verdict counts (translation
 * comes before filtering in the kernel); without a candidate the packet passes.
 */
export function interpret(graph: RuleGraph, packet: Packet): readonly Outcome[] {
  const steps: Step[] = [];
  let firstVerdict: { readonly verdict: Verdict; readonly frontend: Frontend } | undefined;
  for (const frontend of candidates(graph, packet)) {
    steps.push(frontendStep(frontend));
    const target = follow(frontend, packet, steps);
    if (target.kind !== 'pool') {
      firstVerdict ??= { verdict: target, frontend };
      continue;
    }
    const pool = graph.pools.get(target.pool);
    if (!pool)
      throw new TypeError(
        `frontend ${frontend.id} leads to pool ${target.pool}, which is not in the graph`,
      );
    return poolOutcomes(packet, frontend, target, pool, steps);
  }
  if (!firstVerdict) return [passing(graph, packet)];
  const { verdict, frontend } = firstVerdict;
  return [verdictOutcome(verdict, frontend.origin, steps)];
}

/** The frontends a packet may enter by, in the order they are tried. */
function candidates(graph: RuleGraph, packet: Packet): readonly Frontend[] {
  const { protocol, destination, destinationPort } = packet;
  const ids = [frontendId(destination, protocol, destinationPort)];
  if (answersNodePorts(graph.node, destination)) {
    ids.push(frontendId(undefined, protocol, destinationPort));
  }
  return ids.flatMap((id) => graph.frontends.get(id) ?? []);
}

function frontendStep({ id, kind, address, protocol, port, origin }: Frontend): Step {
  const where = address === undefined ? String(port) : hostPort(address, port);
  const text = `${where}/${protocol} is the ${kindText[kind]} of ${origin.name}`;
  return { node: 'frontend', taken: true, id, text, origin };
}

const kindText: Readonly<Record<Frontend['kind'], string>> = {
  clusterIP: 'cluster IP',
  externalIP: 'external IP',
  loadBalancerIP: 'load balancer IP',
  nodePort: 'node port',
};

/** Guard, then branches: where the frontend sends the packet. Adds a step for each that was asked. */
function follow(frontend: Frontend, packet: Packet, steps: Step[]): PoolTarget | Verdict {
  const { guard, origin } = frontend;
  if (guard) {
    const { passed, text } = ask(guard, packet);
    steps.push({ node: 'guard', taken: passed, text, origin });
    if (!passed) return guard.others;
  }
  for (const branch of frontend.branches) {
    const taken = matches(branch, packet);
    const text = taken ? `${fromText[branch.from]}: ${branch.reason}` : missText[branch.from];
    steps.push({ node: 'branch', taken, id: branch.from, text, origin });
    if (taken) return branch.to;
  }
  throw new TypeError(`frontend ${frontend.id} has no branch from anywhere`);
}

const fromText = { pod: 'from a pod', node: 'from the node', anywhere: 'from anywhere' } as const;
const missText = {
  pod: 'the source is no pod of this node',
  node: 'the source is no address of this node',
  anywhere: '',
} as const;

function matches({ from }: Branch, packet: Packet): boolean {
  return from === 'anywhere' || (from === 'pod' ? packet.fromPod : packet.fromNode);
}

function ask(guard: Guard, packet: Packet): { readonly passed: boolean; readonly text: string } {
  const range = guard.allowed.find((cidr) => cidrContains(cidr, packet.source));
  if (range)
    return { passed: true, text: `loadBalancerSourceRanges allow ${packet.source} (${range})` };
  if (guard.allowedOwn.includes(packet.source)) {
    const text = `${packet.source} is the service's own load balancer address, and a range contains this node`;
    return { passed: true, text };
  }
  const ranges = guard.allowed.join(', ');
  return {
    passed: false,
    text: `loadBalancerSourceRanges (${ranges}) do not allow ${packet.source}`,
  };
}

function poolOutcomes(
  packet: Packet,
  frontend: Frontend,
  target: PoolTarget,
  pool: Pool,
  steps: readonly Step[],
): readonly Outcome[] {
  const { origin } = frontend;
  const total = pool.endpoints.reduce((sum, { weight }) => sum + weight, 0);
  const affinitySeconds = pool.affinity?.timeoutSeconds;
  const poolStep: Step = { node: 'pool', taken: true, id: pool.id, text: poolText(pool), origin };
  return pool.endpoints.map((endpoint): EndpointOutcome => {
    const hairpin = endpoint.address === packet.source;
    const reason = masqueradeReason(packet, target, hairpin);
    const text = `${hostPort(endpoint.address, endpoint.port)}: ${reason}`;
    return {
      kind: 'endpoint',
      probability: rational(endpoint.weight, total),
      endpoint,
      masquerade: target.masquerade || hairpin,
      hairpin,
      reason,
      frontend: frontend.id,
      pool: pool.id,
      affinitySeconds,
      origin,
      path: [...steps, poolStep, { node: 'endpoint', taken: true, text, origin }],
    };
  });
}

function poolText(pool: Pool): string {
  const count = pool.endpoints.length;
  const byWeight = isWeighted(pool) ? ', by weight' : '';
  const choice = count === 1 ? 'one endpoint' : `one of ${count} endpoints at random${byWeight}`;
  const asked = askedText(pool);
  const first = asked === '' ? choice : `${choice} (${asked})`;
  if (!pool.affinity) return first;
  return `${first} for a first connection; the client then keeps it for ${pool.affinity.timeoutSeconds} s`;
}

function masqueradeReason(packet: Packet, target: PoolTarget, hairpin: boolean): string {
  if (hairpin)
    return `source replaced, since ${packet.source} would be talking to itself (hairpin)`;
  return target.masquerade
    ? "source replaced by the node's address (masquerade)"
    : `source ${packet.source} kept`;
}

function verdictOutcome(
  verdict: Verdict,
  origin: Origin | undefined,
  steps: readonly Step[],
): VerdictOutcome {
  const { kind, reason } = verdict;
  const last: Step = {
    node: 'verdict',
    taken: true,
    id: kind,
    text: `${kind}: ${reason}`,
    ...(origin && { origin }),
  };
  return { kind, probability: one, reason, origin, path: [...steps, last] };
}

/** No candidate: routed as it is. An unused port of a service's address says whose address it is. */
function passing(graph: RuleGraph, packet: Packet): VerdictOutcome {
  let owner: Frontend | undefined;
  for (const frontend of graph.frontends.values()) {
    if (frontend.address !== packet.destination) continue;
    if (!owner || compareFrontends(frontend, owner) < 0) owner = frontend;
  }
  if (!owner) return verdictOutcome({ kind: 'pass', reason: 'no service' }, undefined, []);
  const step: Step = {
    node: 'frontend',
    taken: true,
    text: `${packet.destination} is the ${kindText[owner.kind]} of ${owner.origin.service}, which has no port ${packet.destinationPort}/${packet.protocol} there`,
    origin: owner.origin,
  };
  const reason = 'port is not a service port of this address';
  return verdictOutcome({ kind: 'pass', reason }, owner.origin, [step]);
}
