import { membersOf } from '../../src/backends/iptables/diff-sets.ts';
import { lowerIpvs } from '../../src/backends/ipvs/lower.ts';
import { defaultIpvsFeatures } from '../../src/backends/ipvs/options.ts';
import type { IpvsOptions } from '../../src/backends/ipvs/options.ts';
import { realServerArgs, serverArgs } from '../../src/backends/ipvs/ipvsadm-text.ts';
import { ipvsSet } from '../../src/backends/ipvs/sets.ts';
import type { SetRole } from '../../src/backends/ipvs/sets.ts';
import type { IpvsState } from '../../src/backends/ipvs/state.ts';
import { compileAll } from '../../src/graph/compile.ts';
import type { NodeContext } from '../../src/graph/node-context.ts';
import type { ServicePort } from '../../src/services/service-port.ts';
import { byKey, nodeContext } from './service-ports.ts';

/** What the lowering is told by default: round robin, nothing reserved. */
export const ipvsOptions: IpvsOptions = {
  features: defaultIpvsFeatures,
  masqueradeMark: 0x4000,
  conntrackBeLiberal: false,
  scheduler: 'rr',
  schedulerProblem: () => undefined,
  reserved: () => undefined,
};

/** The state of service ports on node-1. */
export function ipvsState(
  ports: readonly ServicePort[],
  node: Partial<NodeContext> = {},
  options: Partial<IpvsOptions> = {},
): IpvsState {
  return lowerIpvs(compileAll(byKey(ports), nodeContext(node)), { ...ipvsOptions, ...options });
}

/** Members of a set, sorted. */
export function membersIn(state: IpvsState, role: SetRole): readonly string[] {
  const set = state.rules.sets.get(ipvsSet(role, state.family));
  return set === undefined ? [] : [...membersOf(set)].toSorted();
}

/** Every set that has members. */
export function filledSets(state: IpvsState): Readonly<Record<string, readonly string[]>> {
  const sets = [...state.rules.sets.values()].map(
    (set) =>
      [/IPVS-(.*)-\d+$/.exec(set.name)?.[1] ?? set.name, [...membersOf(set)].toSorted()] as const,
  );
  return Object.fromEntries(sets.filter(([, members]) => members.length > 0));
}

/** Virtual servers, sorted by key, and their real servers, as ipvsadm is told of them. */
export function serverLines(state: IpvsState): readonly string[] {
  return [...state.servers.values()]
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .flatMap((server) => [
      serverArgs(server),
      ...[...server.realServers.values()].map(
        (real) => `  ${realServerArgs(server, real).replace(/^.* -r /, '-r ')}`,
      ),
    ]);
}
