import type { NodeContext } from '../../graph/node-context.ts';
import type { Frontend, GraphDelta, Pool, RuleGraph } from '../../graph/rule-graph.ts';
import { isLinkLocal, isLoopback, isMulticast, isUnspecified } from '../../ip/address.ts';
import type { Family } from '../../ip/address.ts';
import { tableOrder } from '../iptables/diff.ts';
import type { Excluded } from '../iptables/lower.ts';
import type { SetVersions } from '../iptables/set-versions.ts';
import type { IpsetSpec, IptablesState, TableName } from '../iptables/state.ts';
import { TableBuilder } from '../iptables/table-builder.ts';
import { KeyedTable } from '../keyed-table.ts';
import { AddressClaims } from './addresses.ts';
import { frontendFacts } from './frontend-facts.ts';
import type { RoleMember } from './frontend-facts.ts';
import { HairpinMembers } from './hairpin-members.ts';
import type { IpvsOptions } from './options.ts';
import { GraphPlaces } from './places.ts';
import { ipvsJumps, ipvsRules } from './rules.ts';
import { chooseScheduling } from './scheduling.ts';
import { isSameServer, realServersOf } from './servers.ts';
import { closedSet, setRoles, setVersions } from './sets.ts';
import type { SetRole } from './sets.ts';
import { Shortfalls } from './shortfalls.ts';
import type { IpvsState, ServerPlace, VirtualServer, VirtualServerKey } from './state.ts';

/** The state for a graph, made from nothing. */
export function lowerIpvs(graph: RuleGraph, options: IpvsOptions, exclude?: Excluded): IpvsState {
  const everything: GraphDelta = { everything: true, frontends: new Set(), pools: new Set() };
  return new IpvsLowering(options).lower(graph, everything, exclude);
}

/**
 * Makes the ipvs state of rule graphs, one after the other: only what a delta names is made anew, and
 * the result depends on the last graph alone. What did not change keeps its identity.
 */
export class IpvsLowering {
  readonly #options: IpvsOptions;
  #parts: Parts | undefined;

  constructor(options: IpvsOptions) {
    this.#options = options;
  }

  /** The state of the graph; `delta` says what changed since the graph of the last call. */
  lower(graph: RuleGraph, delta: GraphDelta, exclude: Excluded = new Set()): IpvsState {
    const parts = this.#parts ?? new Parts(graph.family, this.#options);
    // Half of a change must not be kept where a graph cannot be lowered.
    this.#parts = undefined;
    const state = parts.lower(graph, delta, exclude);
    this.#parts = parts;
    return state;
  }
}

/** What is in the state for a place. */
interface Lowered {
  readonly place: ServerPlace;
  readonly members: readonly RoleMember[];
  readonly server: VirtualServer | undefined;
}

/** What is kept from one graph to the next. */
class Parts {
  readonly #family: Family;
  readonly #options: IpvsOptions;
  readonly #lowered = new Map<VirtualServerKey, Lowered>();
  readonly #closed: IpsetSpec;
  readonly #sets: ReadonlyMap<SetRole, SetVersions>;
  readonly #claims = new AddressClaims();
  readonly #shortfalls = new Shortfalls();
  readonly #hairpins: HairpinMembers | undefined;
  readonly #tables: Readonly<Record<TableName, TableBuilder>> = {
    mangle: new TableBuilder(),
    nat: new TableBuilder(),
    filter: new TableBuilder(),
  };
  readonly #jumps = ipvsJumps();
  #servers = new KeyedTable<VirtualServerKey, VirtualServer>();
  #exclude: Excluded | undefined;
  #rules: IptablesState | undefined;

  constructor(family: Family, options: IpvsOptions) {
    this.#family = family;
    this.#options = options;
    const roles = setRoles(options.features).filter((role) => role !== 'CLOSED');
    this.#closed = closedSet(family);
    this.#sets = new Map(roles.map((role) => [role, setVersions(role, family)]));
    const hairpins = this.#sets.get('HAIRPIN');
    this.#hairpins = hairpins && new HairpinMembers(hairpins);
  }

  lower(graph: RuleGraph, delta: GraphDelta, exclude: Excluded): IpvsState {
    const isKept =
      this.#exclude !== undefined && !delta.everything && isSameSet(exclude, this.#exclude);
    this.#exclude = new Set(exclude);
    const found = new GraphPlaces(graph, exclude);
    const ids = isKept ? delta.frontends : graph.frontends.keys();
    const places = new Map(found.ofAll(ids).map((place) => [place.key, place]));
    if (!isKept) {
      for (const [key, { place }] of this.#lowered) places.set(key, place);
      this.#writeRules(graph.node);
    }
    this.#lower([...places.values()], found);
    this.#sets.get('HEALTH')?.replace(new Set([...graph.healthCheckPorts.keys()].map(String)));
    return this.#publish();
  }

  #lower(places: readonly ServerPlace[], found: GraphPlaces): void {
    const before = new Map(places.map(({ key }) => [key, this.#takeOut(key)]));
    const after = new Map(
      places.map((place) => [place.key, this.#putIn(place, found, before.get(place.key))]),
    );
    this.#servers = this.#servers.with(after);
    const bound = this.#sets.get('BOUND');
    for (const [address, isBound] of this.#claims.changes()) {
      if (isBound) bound?.put(address);
      else bound?.remove(address);
    }
  }

  /** Takes out what is at a place; its virtual server, to be kept where the new one is equal. */
  #takeOut(key: VirtualServerKey): VirtualServer | undefined {
    const lowered = this.#lowered.get(key);
    if (lowered === undefined) return undefined;
    const { place, members, server } = lowered;
    this.#lowered.delete(key);
    this.#claims.release(place.address, key);
    this.#shortfalls.remove(key);
    for (const { role, member } of members) this.#sets.get(role)?.remove(member);
    if (server) this.#hairpins?.remove(server);
    return server;
  }

  #putIn(
    place: ServerPlace,
    found: GraphPlaces,
    before: VirtualServer | undefined,
  ): VirtualServer | undefined {
    const { address, key } = place;
    const frontend = found.frontendAt(place);
    if (frontend === undefined) return undefined;
    const { origin } = frontend;
    const isOwn = found.isOwn(address);
    const reason = this.#refusal(frontend, place, isOwn);
    if (reason !== undefined) {
      this.#claims.refuse(key, { address, origin, reason });
      this.#lowered.set(key, { place, members: [], server: undefined });
      return undefined;
    }
    if (!isOwn) this.#claims.bind(address, key, origin);
    const { pool, members } = frontendFacts(frontend, address, found.node.podDetector);
    for (const { role, member } of members) this.#sets.get(role)?.put(member);
    const made = pool === undefined ? undefined : this.#server(place, frontend, found.pool(pool));
    const server = made && before && isSameServer(made, before) ? before : made;
    if (server) this.#hairpins?.add(server);
    this.#lowered.set(key, { place, members, server });
    return server;
  }

  /** Why a frontend is not served, nor its address bound. */
  #refusal({ kind }: Frontend, { address }: ServerPlace, isOwn: boolean): string | undefined {
    if (kind === 'nodePort') return undefined;
    if (isUnspecified(address)) return `${address} is nobody’s address`;
    if (isMulticast(address)) return `${address} is a multicast address`;
    if (address === '255.255.255.255') return `${address} is the broadcast address`;
    if (isLoopback(address)) return `${address} is a loopback address`;
    if (isLinkLocal(address)) return `${address} is a link-local address`;
    return isOwn || kind === 'clusterIP' ? undefined : this.#options.reserved(address);
  }

  #server(
    { key, address, protocol, port }: ServerPlace,
    { origin }: Frontend,
    pool: Pool,
  ): VirtualServer {
    const { scheduling, shortfall } = chooseScheduling(pool, this.#options);
    if (shortfall !== undefined) this.#shortfalls.put(key, { origin, reason: shortfall });
    const realServers = realServersOf(pool);
    return { key, address, protocol, port, ...scheduling, realServers, origin };
  }

  #writeRules(node: NodeContext): void {
    const rules = ipvsRules(node, this.#options);
    for (const table of tableOrder) {
      for (const [name, chain] of rules[table]) this.#tables[table].put(name, chain, 'root');
    }
  }

  #publish(): IpvsState {
    return {
      family: this.#family,
      servers: this.#servers,
      addresses: this.#claims.bound(),
      refused: this.#claims.refused(),
      shortfalls: this.#shortfalls.publish(),
      rules: this.#publishRules(),
    };
  }

  #publishRules(): IptablesState {
    const { mangle, nat, filter } = this.#tables;
    const tables = { mangle: mangle.publish(), nat: nat.publish(), filter: filter.publish() };
    const before = this.#rules;
    const sets = this.#publishSets(before?.sets);
    const isSame =
      sets === before?.sets && tableOrder.every((name) => tables[name] === before.tables[name]);
    if (isSame) return before;
    this.#rules = { family: this.#family, tables, jumps: this.#jumps, sets };
    return this.#rules;
  }

  #publishSets(before: IptablesState['sets'] | undefined): IptablesState['sets'] {
    const filled = Array.from(this.#sets.values(), (versions) => versions.publish());
    const sets = [this.#closed, ...filled];
    const isSame = before !== undefined && sets.every((set) => before.get(set.name) === set);
    return isSame ? before : new Map(sets.map((set) => [set.name, set]));
  }
}

function isSameSet<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  return a.size === b.size && [...a].every((each) => b.has(each));
}
