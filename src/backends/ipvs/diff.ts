import type { Origin } from '../../graph/rule-graph.ts';
import { KeyedTable } from '../keyed-table.ts';
import { realServerArgs, serverArgs, serverName } from './ipvsadm-text.ts';
import type { ObservedServer } from './kernel-table.ts';
import type {
  RealServer,
  RealServerKey,
  ServerPlace,
  VirtualServer,
  VirtualServerKey,
} from './state.ts';

/** A real server as far as it is known. */
export interface KernelRealServer extends RealServer {
  /** It is reached otherwise than by NAT: somebody else's, to be written anew. */
  readonly isForeign?: true;
}

/** A virtual server of ours as it is in the kernel. */
export interface KernelServer extends ServerPlace {
  /** As `-A` would take it; undefined: not known to the last flag, so that it is written once to be so. */
  readonly args: string | undefined;
  readonly realServers: ReadonlyMap<RealServerKey, KernelRealServer>;
  /** Of the state that asked for it, if one did. */
  readonly wanted: VirtualServer | undefined;
}

/** What a virtual server is to be. */
export interface TargetServer extends ServerPlace {
  readonly args: string | undefined;
  /** Those that drain, too, with weight 0. */
  readonly realServers: ReadonlyMap<RealServerKey, RealServer>;
  readonly wanted: VirtualServer | undefined;
}

/** A line of `ipvsadm --restore`. */
export interface Change {
  readonly server: VirtualServerKey;
  readonly line: string;
  /** It takes a virtual server away, and comes last of all that a sync does. */
  readonly isRemoval: boolean;
  readonly origin: Origin | undefined;
}

/** Schedulers whose flags the kernel's table does not show. */
const withFlags = new Set(['sh', 'mh']);

/** A server that was read, as one to compare with. */
export function kernelServer(observed: ObservedServer): KernelServer {
  const { key, address, protocol, port, scheduler, persistentTicks } = observed;
  const isKnown = persistentTicks === undefined && !withFlags.has(scheduler);
  const realServers = new Map(
    [...observed.realServers].map(([real, found]) => {
      const { isMasqueraded, weight } = found;
      const known = { address: found.address, port: found.port, weight };
      return [real, isMasqueraded ? known : { ...known, isForeign: true as const }];
    }),
  );
  const place = { key, address, protocol, port };
  const args = isKnown ? `${serverName(place)} -s ${scheduler}` : undefined;
  return { ...place, args, realServers, wanted: undefined };
}

/** Whether the kernel's table shows all that a server was asked to be, but its real servers. */
export function isShown({ scheduler, persistentSeconds }: VirtualServer): boolean {
  return persistentSeconds === undefined && !withFlags.has(scheduler);
}

/** A server of the state, without what drains. */
export function targetOf(server: VirtualServer): TargetServer {
  const { key, address, protocol, port, realServers } = server;
  return { key, address, protocol, port, args: serverArgs(server), realServers, wanted: server };
}

/**
 * The lines from what the kernel has of a virtual server to what it shall have; none where it is so. Whom new
 * connections may go to comes before whom they no longer may.
 */
export function diffServer(
  have: KernelServer | undefined,
  target: TargetServer | undefined,
): readonly Change[] {
  const place = target ?? have;
  if (place === undefined) return [];
  const origin = (target?.wanted ?? have?.wanted)?.origin;
  const isRemoval = target === undefined;
  const lines = isRemoval ? [`-D ${serverName(place)}`] : serverLines(have, target);
  return lines.map((line) => ({ server: place.key, line, isRemoval, origin }));
}

function serverLines(have: KernelServer | undefined, target: TargetServer): readonly string[] {
  const { args = serverName(target) } = target;
  const reals = realServerLines(have?.realServers ?? new Map(), target);
  if (have === undefined) return [`-A ${args}`, ...reals];
  const isSame = target.args === undefined || target.args === have.args;
  return isSame ? reals : [`-E ${args}`, ...reals];
}

function realServerLines(
  there: KernelServer['realServers'],
  target: TargetServer,
): readonly string[] {
  const coming: string[] = [];
  const draining: string[] = [];
  for (const [key, real] of target.realServers) {
    const found = there.get(key);
    if (found?.weight === real.weight && found.isForeign !== true) continue;
    const line = `${found === undefined ? '-a' : '-e'} ${realServerArgs(target, real)}`;
    (real.weight === 0 ? draining : coming).push(line);
  }
  const going = [...there]
    .filter(([key]) => !target.realServers.has(key))
    .map(([key]) => `-d ${serverName(target)} -r ${key}`);
  return [...coming, ...draining, ...going];
}

/** The keys at which two states differ. */
export function changedKeys<K extends string, T>(
  before: ReadonlyMap<K, T>,
  after: ReadonlyMap<K, T>,
): readonly K[] {
  if (before === after) return [];
  if (before instanceof KeyedTable && after instanceof KeyedTable) {
    const changes = (after as KeyedTable<K, T>).changesFrom(before as KeyedTable<K, T>);
    return [...changes].map(([key]) => key);
  }
  const changed = [...after].filter(([key, item]) => before.get(key) !== item).map(([key]) => key);
  return [...changed, ...[...before.keys()].filter((key) => !after.has(key))];
}

/** What is in the kernel once all lines of a difference are in force. */
export function achieved(target: TargetServer, have: KernelServer | undefined): KernelServer {
  return { ...target, args: target.args ?? have?.args };
}
