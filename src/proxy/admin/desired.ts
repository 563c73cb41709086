import type { DesiredBalancing, DesiredState } from '../../backends/desired.ts';
import { membersOf } from '../../backends/iptables/diff-sets.ts';
import { tableOrder } from '../../backends/iptables/diff.ts';
import type {
  Chain,
  ChainName,
  IpsetSpec,
  Jump,
  SetName,
  TableName,
} from '../../backends/iptables/state.ts';
import type { BoundAddress, RealServer, VirtualServer } from '../../backends/ipvs/state.ts';
import { realServerKey } from '../../backends/ipvs/servers.ts';
import { SwitchyardError } from '../../error.ts';
import type { Origin } from '../../graph/rule-graph.ts';
import type { Address, Family } from '../../ip/address.ts';
import type { Cidr } from '../../ip/cidr.ts';
import type { ServicePortName } from '../../services/service-port.ts';

/** What a family's rules shall be, and how far the agent is with them. */
export interface DesiredAnswer {
  readonly state: DesiredState;
  /** Syncs that have ended. */
  readonly syncs: number;
  /** Nothing is being written or waits to be. */
  readonly isSettled: boolean;
}

/** The first line. */
interface Head {
  readonly family: Family;
  readonly variant: DesiredState['variant'];
  readonly syncs: number;
  readonly isSettled: boolean;
  /** Of ipvs mode. */
  readonly excludeCidrs: readonly Cidr[] | null;
}

/** One thing a line; all but the head may come in any order, and `end` comes last. */
interface Line {
  readonly head?: Head;
  /** `rules`: arguments and the service port each rule is for. */
  readonly chain?: {
    readonly table: TableName;
    readonly name: ChainName;
    readonly role: Chain['role'];
    readonly rules: readonly (readonly [args: string, servicePort: string | null])[];
  };
  readonly jump?: Jump;
  readonly set?: {
    readonly name: SetName;
    readonly create: string;
    readonly members: string[] | null;
  };
  readonly server?: Omit<VirtualServer, 'realServers' | 'origin'> & {
    readonly realServers: readonly RealServer[];
    readonly servicePort: string;
  };
  readonly address?: { readonly address: Address; readonly servicePort: string };
  readonly end?: true;
}

/** The state as lines of JSON, made as they are asked for: there may be a hundred thousand of them. */
export function* desiredLines({ state, syncs, isSettled }: DesiredAnswer): Generator<string> {
  for (const line of linesOf(state, syncs, isSettled)) yield JSON.stringify(line);
}

function* linesOf(state: DesiredState, syncs: number, isSettled: boolean): Generator<Line> {
  const { variant, rules, balancing } = state;
  const excludeCidrs = balancing?.excludeCidrs ?? null;
  yield { head: { family: rules.family, variant, syncs, isSettled, excludeCidrs } };
  yield* ruleLines(rules);
  if (balancing !== undefined) yield* balancingLines(balancing);
  yield { end: true };
}

function* ruleLines({ tables, jumps, sets }: DesiredState['rules']): Generator<Line> {
  for (const table of tableOrder) {
    for (const { name, role, rules } of tables[table].values()) {
      const told = rules.map(({ args, origin }) => [args, origin?.name ?? null] as const);
      yield { chain: { table, name, role, rules: told } };
    }
  }
  for (const jump of jumps) yield { jump };
  for (const spec of sets.values()) {
    const members = spec.members === undefined ? null : [...membersOf(spec)];
    yield { set: { name: spec.name, create: spec.create, members } };
  }
}

function* balancingLines({ servers, addresses }: DesiredBalancing): Generator<Line> {
  for (const { realServers, origin, ...server } of servers.values()) {
    yield {
      server: { ...server, realServers: [...realServers.values()], servicePort: origin.name },
    };
  }
  for (const { address, origin } of addresses.values()) {
    yield { address: { address, servicePort: origin?.name ?? '' } };
  }
}

/** Reads what {@link desiredLines} wrote; rejects what breaks off. Of an origin only the name is told. */
export function readDesired(text: string): DesiredAnswer {
  const lines = text.split('\n').filter((line) => line !== '');
  const reading = new Reading();
  for (const line of lines) reading.take(JSON.parse(line) as Line);
  return reading.answer();
}

class Reading {
  #head: Head | undefined;
  #isWhole = false;
  readonly #tables = {
    filter: new Map<ChainName, Chain>(),
    nat: new Map<ChainName, Chain>(),
    mangle: new Map<ChainName, Chain>(),
  };
  readonly #jumps: Jump[] = [];
  readonly #sets = new Map<SetName, IpsetSpec>();
  readonly #servers = new Map<VirtualServer['key'], VirtualServer>();
  readonly #addresses = new Map<Address, BoundAddress>();

  take({ head, chain, jump, set, server, address, end }: Line): void {
    this.#head ??= head;
    this.#isWhole = end === true;
    if (chain !== undefined) {
      const { table, name, role, rules } = chain;
      const told = rules.map(([args, port]) => ({
        args,
        origin: port === null ? undefined : originOf(port),
      }));
      this.#tables[table].set(name, { name, role, rules: told });
    }
    if (jump !== undefined) this.#jumps.push(jump);
    if (set !== undefined) {
      this.#sets.set(set.name, { ...set, members: set.members ?? undefined });
    }
    if (server !== undefined) this.#takeServer(server);
    if (address !== undefined) {
      const origin = originOf(address.servicePort);
      this.#addresses.set(address.address, { address: address.address, origin });
    }
  }

  answer(): DesiredAnswer {
    const head = this.#head;
    if (head === undefined || !this.#isWhole) {
      throw new SwitchyardError('source', "the agent's answer breaks off", { retryable: true });
    }
    const { family, variant, syncs, isSettled, excludeCidrs } = head;
    const rules = { family, tables: this.#tables, jumps: this.#jumps, sets: this.#sets };
    const balancing = { servers: this.#servers, addresses: this.#addresses };
    const state: DesiredState = {
      variant,
      rules,
      ...(excludeCidrs !== null && { balancing: { ...balancing, excludeCidrs } }),
    };
    return { state, syncs, isSettled };
  }

  #takeServer({ servicePort, realServers, ...server }: NonNullable<Line['server']>): void {
    const reals = new Map(realServers.map((each) => [realServerKey(each), each]));
    this.#servers.set(server.key, {
      ...server,
      realServers: reals,
      origin: originOf(servicePort),
    });
  }
}

function originOf(name: string): Origin {
  const [service = ''] = name.split(':');
  return {
    service: service as Origin['service'],
    servicePort: name as unknown as Origin['servicePort'],
    name: name as ServicePortName,
  };
}
