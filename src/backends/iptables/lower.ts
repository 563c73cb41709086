import type { NodeContext } from '../../graph/node-context.ts';
import type { Frontend, FrontendId, GraphDelta, Pool, RuleGraph } from '../../graph/rule-graph.ts';
import type { Family } from '../../ip/address.ts';
import type { ServicePortKey, ServicePortName } from '../../services/service-port.ts';
import { prefixTest } from './dispatch-keys.ts';
import { Forest } from './forest.ts';
import type { Change } from './forest.ts';
import { HairpinEndpoints } from './hairpin-endpoints.ts';
import { lowerServicePort } from './leaf.ts';
import type { LeafContext, LoweredServicePort } from './leaf.ts';
import { hoistedMarkRules } from './leaf-marks.ts';
import {
  chains,
  firewallRules,
  forwardRules,
  jumps,
  markTargets,
  nodePortJumps,
  nodePortsComment,
  postroutingRules,
  staticRule,
  writesFirewall,
} from './static-rules.ts';
import type { MarkTargets } from './static-rules.ts';
import type { IptablesState, LoweringOptions, Rule, TableName } from './state.ts';
import { SetBuilder } from './set-builder.ts';
import { TableBuilder } from './table-builder.ts';

/** Endpoints of all pools over which rules of endpoints lose their comments, as kube-proxy's do. */
const commentedEndpoints = 1000;

/** Service ports that are left out, as if they did not exist. */
export type Excluded = ReadonlySet<ServicePortName>;

/** The state for a graph, made from nothing. */
export function lowerAll(
  graph: RuleGraph,
  options: LoweringOptions,
  exclude?: Excluded,
): IptablesState {
  const none = { frontends: new Set<FrontendId>(), pools: new Set<Pool['id']>() };
  return new Lowering(options).lower(graph, { everything: true, ...none }, exclude);
}

/**
 * Makes the iptables state of rule graphs, one after the other: only what a delta names is made
 * anew, and the result depends on the last graph alone. Unchanged chains keep their identity.
 */
export class Lowering {
  readonly #options: LoweringOptions;
  readonly #marks: MarkTargets;
  #parts: Parts | undefined;
  #state: IptablesState | undefined;

  constructor(options: LoweringOptions) {
    this.#options = options;
    this.#marks = markTargets(options.masqueradeMark);
  }

  /** The state of the graph; `delta` says what changed since the graph of the last call. */
  lower(graph: RuleGraph, delta: GraphDelta, exclude: Excluded = new Set()): IptablesState {
    const comments = this.#wantsComments(graph);
    const old = this.#parts;
    const isKept =
      old !== undefined &&
      !delta.everything &&
      old.comments === comments &&
      isSameSet(old.exclude, exclude);
    const parts = isKept
      ? old
      : newParts(this.#options, graph.family, this.#state, comments, exclude);
    // Half of a change must not be kept where a graph cannot be lowered.
    this.#parts = undefined;
    const ids = isKept ? delta.frontends : graph.frontends.keys();
    this.#lowerServicePorts(graph, parts, this.#regroup(graph, parts, ids));
    parts.forest.setHealthChecks(graph.healthCheckPorts);
    parts.hairpins.plant(parts.forest);
    parts.forest.flush(parts.tables);
    this.#writeRoots(graph.node, parts);
    this.#parts = parts;
    this.#state = this.#publish(graph.family, parts);
    return this.#state;
  }

  #wantsComments({ pools }: RuleGraph): boolean {
    const { comments } = this.#options.features;
    if (comments !== 'auto') return comments === 'all';
    let endpoints = 0;
    for (const pool of pools.values()) {
      endpoints += pool.endpoints.length;
      if (endpoints > commentedEndpoints) return false;
    }
    return true;
  }

  /** Moves the frontends to the service ports that own them now; the service ports concerned. */
  #regroup(graph: RuleGraph, parts: Parts, ids: Iterable<FrontendId>): ReadonlySet<ServicePortKey> {
    const concerned = new Set<ServicePortKey>();
    for (const id of ids) {
      const before = parts.owners.get(id);
      const origin = graph.frontends.get(id)?.origin;
      const after = origin && !parts.exclude.has(origin.name) ? origin.servicePort : undefined;
      if (before !== undefined) {
        concerned.add(before);
        parts.frontends.set(before, without(parts.frontends.get(before), id));
        parts.owners.delete(id);
      }
      if (after === undefined) continue;
      concerned.add(after);
      parts.owners.set(id, after);
      parts.frontends.set(after, [...(parts.frontends.get(after) ?? []), id]);
    }
    return concerned;
  }

  #lowerServicePorts(graph: RuleGraph, parts: Parts, keys: ReadonlySet<ServicePortKey>): void {
    const { features } = this.#options;
    const { node, pools } = graph;
    const tests = node.serviceCidrs.map(prefixTest);
    const context: LeafContext = {
      node,
      pools,
      marks: this.#marks,
      isHoisted: (key) => tests.some((holds) => holds(key)),
      features,
      comments: parts.comments,
    };
    const change = parts.forest.change();
    // A frontend may pass from one service port to another: all that goes, goes before what comes.
    for (const key of keys) takeOut(parts, change, parts.lowered.get(key));
    for (const key of keys) {
      const frontends = frontendsOf(graph, parts.frontends.get(key));
      if (frontends.length === 0) {
        parts.lowered.delete(key);
        parts.frontends.delete(key);
        continue;
      }
      const lowered = lowerServicePort(frontends, context);
      parts.lowered.set(key, lowered);
      putIn(parts, change, lowered);
    }
    change.apply(parts.tables.nat);
  }

  #writeRoots(node: NodeContext, { forest, tables, hairpins }: Parts): void {
    const { nat, filter, mangle } = tables;
    const options = this.#options;
    const marks = this.#marks;
    const hoisted = hoistedMarkRules(node, marks);
    const tail = nodePortJumps(node, chains.nodePorts, nodePortsComment);
    const services = [...hoisted.before, ...forest.rules('services'), ...hoisted.after, ...tail];
    nat.put(chains.services, services, 'root');
    nat.put(chains.nodePorts, forest.rules('nodePorts'), 'root');
    nat.put(chains.markMasq, [staticRule(marks.set)], 'root');
    const marked = postroutingRules(marks, options, hairpins.rules('mark', forest));
    nat.put(chains.postrouting, marked, 'root');
    filter.put(chains.services, untranslated(forest.rules('clusterVerdicts')), 'root');
    const verdicts = forest.rules('nodePortVerdicts');
    const toVerdicts = verdicts.length === 0 ? [] : nodePortJumps(node, forest.nodePortVerdicts);
    const external = [...forest.rules('externalVerdicts'), ...toVerdicts];
    filter.put(forest.nodePortVerdicts, verdicts.length === 0 ? undefined : verdicts);
    filter.put(chains.externalServices, untranslated(external), 'root');
    filter.put(chains.nodePorts, forest.rules('healthChecks'), 'root');
    filter.put(chains.proxyFirewall, untranslated(forest.rules('firewall')), 'root');
    const accepted = forwardRules(marks, options, hairpins.rules('accept', forest));
    filter.put(chains.forward, accepted, 'root');
    if (writesFirewall(node.family, options)) filter.put(chains.firewall, firewallRules(), 'root');
    for (const table of [mangle, nat, filter]) table.put(chains.canary, []);
  }

  #publish(family: Family, { tables, sets, hairpins }: Parts): IptablesState {
    const { mangle, nat, filter } = tables;
    return {
      family,
      tables: { mangle: mangle.publish(), nat: nat.publish(), filter: filter.publish() },
      jumps: jumps(writesFirewall(family, this.#options)),
      sets: sets.publish(hairpins.set()),
    };
  }
}

/** What is kept from one graph to the next. */
interface Parts {
  readonly comments: boolean;
  readonly exclude: Excluded;
  readonly owners: Map<FrontendId, ServicePortKey>;
  readonly frontends: Map<ServicePortKey, readonly FrontendId[]>;
  readonly lowered: Map<ServicePortKey, LoweredServicePort>;
  readonly forest: Forest;
  readonly hairpins: HairpinEndpoints;
  readonly tables: Readonly<Record<TableName, TableBuilder>>;
  readonly sets: SetBuilder;
}

function isSameSet<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): boolean {
  return a.size === b.size && [...a].every((each) => b.has(each));
}

function newParts(
  options: LoweringOptions,
  family: Family,
  state: IptablesState | undefined,
  comments: boolean,
  exclude: Excluded,
): Parts {
  return {
    comments,
    exclude: new Set(exclude),
    owners: new Map(),
    frontends: new Map(),
    lowered: new Map(),
    forest: new Forest(family),
    hairpins: new HairpinEndpoints(family, options),
    tables: {
      mangle: new TableBuilder(state?.tables.mangle),
      nat: new TableBuilder(state?.tables.nat),
      filter: new TableBuilder(state?.tables.filter),
    },
    sets: new SetBuilder(),
  };
}

function takeOut(parts: Parts, change: Change, lowered: LoweredServicePort | undefined): void {
  if (!lowered) return;
  for (const { tree, key } of lowered.entries) change.entry(tree, key, undefined);
  for (const name of lowered.chains.keys()) change.chain(name, undefined);
  for (const name of lowered.sets.keys()) parts.sets.put(name, undefined);
  parts.hairpins.remove(lowered);
}

function putIn(parts: Parts, change: Change, lowered: LoweredServicePort): void {
  for (const { tree, key, rules } of lowered.entries) change.entry(tree, key, rules);
  for (const [name, rules] of lowered.chains) change.chain(name, rules);
  for (const [name, set] of lowered.sets) parts.sets.put(name, set);
  parts.hairpins.add(lowered);
}

function without(ids: readonly FrontendId[] | undefined, id: FrontendId): readonly FrontendId[] {
  return ids?.filter((each) => each !== id) ?? [];
}

function frontendsOf(
  graph: RuleGraph,
  ids: readonly FrontendId[] | undefined,
): readonly Frontend[] {
  const [only] = ids ?? [];
  if (only !== undefined && ids?.length === 1) {
    const frontend = graph.frontends.get(only);
    return frontend ? [frontend] : [];
  }
  return ids?.toSorted().flatMap((id) => graph.frontends.get(id) ?? []) ?? [];
}

/**
 * Verdicts are for packets that no pool took. A translated packet may by chance have the address and
 * port of a frontend (a host-network endpoint on a node port), so it leaves first.
 */
function untranslated(rules: readonly Rule[]): readonly Rule[] {
  if (rules.length === 0) return rules;
  return [staticRule('-m conntrack --ctstate DNAT -j RETURN'), ...rules];
}
