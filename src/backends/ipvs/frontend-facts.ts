import type { PodDetector } from '../../graph/node-context.ts';
import type { Branch, Frontend, PoolId, PoolTarget, Verdict } from '../../graph/rule-graph.ts';
import type { Cidr } from '../../ip/cidr.ts';
import { prefixLength } from '../../ip/cidr.ts';
import { frontendMember, rangeText } from './sets.ts';
import type { SetRole } from './sets.ts';
import type { Address } from '../../ip/address.ts';

/** What ipvs and the rules have to know of a frontend at one address. */
export interface FrontendFacts {
  /** Whose connections the virtual server spreads; undefined: it only refuses, there is none. */
  readonly pool: PoolId | undefined;
  readonly members: readonly RoleMember[];
}

/** What stands in a set. */
export interface RoleMember {
  readonly role: SetRole;
  readonly member: string;
}

/** The facts of a frontend at an address of its own, or at one where node ports answer. */
export function frontendFacts(
  frontend: Frontend,
  address: Address,
  detector: PodDetector,
): FrontendFacts {
  const at = frontendMember(address, frontend.protocol, frontend.port);
  const sources = targetsOf(frontend.branches, detector);
  const pool = poolOf(frontend.branches);
  const roles = [...rolesOf(pool, sources)];
  const members = roles.map((role): RoleMember => ({ role, member: at }));
  return { pool, members: pool === undefined ? members : [...members, ...guardOf(frontend, at)] };
}

/** Where packets go, by who sent them. */
interface Targets {
  readonly pods: PoolTarget | Verdict;
  readonly others: PoolTarget | Verdict;
}

function targetsOf(branches: readonly Branch[], detector: PodDetector): Targets {
  const others = targetOf(branches, 'anywhere');
  return { others, pods: detector.kind === 'none' ? others : targetOf(branches, 'pod') };
}

function targetOf(branches: readonly Branch[], source: Branch['from']): PoolTarget | Verdict {
  const taken = branches.find(({ from }) => from === source || from === 'anywhere');
  if (taken === undefined) throw new TypeError('a frontend has no branch from anywhere');
  return taken.to;
}

/** A virtual server has one pool: the one from anywhere, else that of those who get one at all. */
function poolOf(branches: readonly Branch[]): PoolId | undefined {
  const targets = [branches.at(-1), ...branches].map((branch) => branch?.to);
  return targets.find((to) => to?.kind === 'pool')?.pool;
}

function* rolesOf(pool: PoolId | undefined, { pods, others }: Targets): Generator<SetRole> {
  if (pool === undefined) {
    if (others.kind === 'reject') yield 'REJECTED';
    if (others.kind === 'drop') yield 'DROP-ALL';
    return;
  }
  yield 'SERVED';
  if (others.kind === 'drop' || others.kind === 'reject') yield 'DROP-OTHERS';
  if (others.kind !== 'pool' || !others.masquerade) return;
  yield pods.kind === 'pool' && pods.masquerade ? 'MASQ-ALL' : 'MASQ-OTHERS';
}

function guardOf({ guard }: Frontend, at: string): readonly RoleMember[] {
  if (guard === undefined || guard.others.kind === 'pass') return [];
  // A set takes no prefix without length, and who lets everybody in guards nothing.
  if (guard.allowed.some((range: Cidr) => prefixLength(range) === 0)) return [];
  const ranges = [...new Set(guard.allowed.map(rangeText))];
  return [
    { role: 'GUARDED', member: at },
    ...ranges.map((range): RoleMember => ({ role: 'ALLOWED', member: `${at},${range}` })),
    ...guard.allowedOwn.map((own): RoleMember => ({ role: 'ALLOWED-OWN', member: `${at},${own}` })),
  ];
}
