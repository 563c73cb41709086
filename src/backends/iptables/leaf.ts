import type {
  Branch,
  Frontend,
  Guard,
  Pool,
  PoolId,
  PoolTarget,
  Verdict,
} from '../../graph/rule-graph.ts';
import { SwitchyardError } from '../../error.ts';
import type { Protocol } from '../../services/service-port.ts';
import { protocolText, serviceChain } from './chain-names.ts';
import { dispatchKey } from './dispatch-keys.ts';
import type { Entry } from './entry.ts';
import { filterEntries } from './leaf-filter.ts';
import { inlinePool, maxInlined, writePool } from './leaf-pool.ts';
import type { Output, PoolOwner } from './leaf-pool.ts';
import { directPool, markRules } from './leaf-marks.ts';
import type { MarkContext } from './leaf-marks.ts';
import {
  branchMatch,
  frontendComment,
  frontendMatch,
  fromAnywhere,
  sourceMatch,
  words,
} from './matches.ts';
import type { ChainName, Features, IpsetSpec, Rule, SetName } from './state.ts';

/** What every service port of a graph is lowered with. */
export interface LeafContext extends MarkContext {
  readonly pools: ReadonlyMap<PoolId, Pool>;
  readonly features: Features;
  /** Whether rules of endpoints have comments. */
  readonly comments: boolean;
}

/** All that the frontends of one service port become. */
export interface LoweredServicePort {
  readonly entries: readonly Entry[];
  /** Chains of the nat table. */
  readonly chains: ReadonlyMap<ChainName, readonly Rule[]>;
  readonly sets: ReadonlyMap<SetName, IpsetSpec>;
  /** The pools its frontends lead to. */
  readonly pools: readonly Pool[];
  readonly protocol: Protocol;
}

/** Lowers the frontends of one service port, given in a fixed order. At least one. */
export function lowerServicePort(
  frontends: readonly Frontend[],
  context: LeafContext,
): LoweredServicePort {
  const [only] = frontends;
  const plain = only && frontends.length === 1 ? lowerPlain(only, context) : undefined;
  return plain ?? new ServicePortLowering(frontends, context).lower();
}

const noChains: ReadonlyMap<ChainName, readonly Rule[]> = new Map();
const noSets: ReadonlyMap<SetName, IpsetSpec> = new Map();

/** Most service ports: one frontend and one small pool without affinity, all of it in the leaf. */
function lowerPlain(frontend: Frontend, context: LeafContext): LoweredServicePort | undefined {
  const id = directPool(frontend);
  const pool = id === undefined ? undefined : context.pools.get(id);
  if (!pool || pool.affinity || pool.endpoints.length > maxInlined) return undefined;
  const { address, protocol, port, origin } = frontend;
  const why = context.comments ? frontendComment(frontend) : '';
  const match = frontendMatch(frontend, context.node.family, why);
  const marking = markRules(frontend, 'branches', context, why);
  const dnat = inlinePool(pool, match, origin);
  const rules = marking.length === 0 ? dnat : [...marking, ...dnat];
  const tree = address === undefined ? 'nodePorts' : 'services';
  const entries: readonly Entry[] = [{ tree, key: dispatchKey(address, protocol, port), rules }];
  return { entries, chains: noChains, sets: noSets, pools: [pool], protocol };
}

class ServicePortLowering {
  readonly #frontends: readonly Frontend[];
  readonly #context: LeafContext;
  readonly #owner: PoolOwner;
  readonly #output: Output = { chains: new Map(), sets: new Map() };
  readonly #pools: readonly Pool[];
  /** Pools with a chain of their own. */
  readonly #poolChains = new Map<PoolId, ChainName>();
  /** Chains of branches and guards by content: frontends of equal content share one. */
  readonly #entryChains = new Map<string, ChainName>();

  constructor(frontends: readonly Frontend[], context: LeafContext) {
    const [first] = frontends;
    if (!first) throw new SwitchyardError('internal', 'a service port without frontends');
    this.#frontends = frontends;
    this.#context = context;
    this.#owner = {
      name: first.origin.name,
      protocol: first.protocol,
      origin: first.origin,
      family: context.node.family,
      affinity: context.features.affinity,
      comments: context.comments,
    };
    this.#pools = this.#listPools();
    this.#choosePoolChains();
  }

  lower(): LoweredServicePort {
    const entries: Entry[] = [];
    for (const frontend of this.#frontends) {
      const { address, protocol, port } = frontend;
      const key = dispatchKey(address, protocol, port);
      const rules = this.#natRules(frontend);
      if (rules.length > 0) {
        entries.push({ tree: address === undefined ? 'nodePorts' : 'services', key, rules });
      }
      entries.push(...filterEntries(frontend, key, this.#context.node));
    }
    for (const pool of this.#pools) {
      const chain = this.#poolChains.get(pool.id);
      if (chain !== undefined) writePool(pool, chain, this.#owner, this.#output);
    }
    return { entries, ...this.#output, pools: this.#pools, protocol: this.#owner.protocol };
  }

  /** The bigger pool first: of the cluster list and the local list, the local one is the smaller. */
  #listPools(): readonly Pool[] {
    const pools = new Map<PoolId, Pool>();
    for (const { branches } of this.#frontends) {
      for (const { to } of branches)
        if (to.kind === 'pool') pools.set(to.pool, this.#pool(to.pool));
    }
    if (pools.size < 2) return [...pools.values()];
    return [...pools.values()].toSorted(
      (a, b) => b.endpoints.length - a.endpoints.length || (a.id < b.id ? -1 : 1),
    );
  }

  #pool(id: PoolId): Pool {
    const pool = this.#context.pools.get(id);
    if (pool) return pool;
    const message = `pool ${id} of ${this.#frontends[0]?.origin.name} is not in the graph`;
    throw new SwitchyardError('internal', message);
  }

  /**
   * A pool gets a chain where its rules would stand more than once, are many, remember clients, or
   * where only some sources get to it. Else they stand in the leaf.
   */
  #choosePoolChains(): void {
    const uses = new Map<PoolId, number>();
    for (const frontend of this.#frontends) {
      const direct = directPool(frontend);
      // A chain of branches is shared by frontends, and readable only if pools have names in it.
      const used = direct ? [{ pool: direct, count: 1 }] : branchPools(frontend.branches);
      for (const { pool, count } of used) uses.set(pool, (uses.get(pool) ?? 0) + count);
    }
    this.#pools.forEach((pool, rank) => {
      const size = pool.endpoints.length;
      const shared = size > 1 && (uses.get(pool.id) ?? 0) > 1;
      if (!pool.affinity && size <= maxInlined && !shared) return;
      const role = rank === 1 ? 'SVL' : 'SVC';
      this.#poolChains.set(pool.id, serviceChain(role, this.#owner, rank > 1 ? `/${rank}` : ''));
    });
  }

  #natRules(frontend: Frontend): readonly Rule[] {
    if (!frontend.branches.some(({ to }) => to.kind === 'pool')) return [];
    const { node, comments } = this.#context;
    const { origin } = frontend;
    const why = frontendComment(frontend);
    const pool = directPool(frontend);
    if (pool === undefined) {
      const jump = `${frontendMatch(frontend, node.family, why)} -j ${this.#entryChain(frontend)}`;
      return [...markRules(frontend, 'clear', this.#context, why), { args: jump, origin }];
    }
    const inlined = !this.#poolChains.has(pool);
    const said = inlined && !comments ? '' : why;
    const marking = markRules(frontend, 'branches', this.#context, said);
    return [...marking, ...this.#toPool(pool, frontendMatch(frontend, node.family, said))];
  }

  /** Rules that take matching packets to the pool; `match` contains the protocol. */
  #toPool(pool: PoolId, match: string): readonly Rule[] {
    const { origin } = this.#owner;
    const chain = this.#poolChains.get(pool);
    if (chain === undefined) return inlinePool(this.#pool(pool), match, origin);
    return [{ args: words(match, `-j ${chain}`), origin }];
  }

  /** The chain a frontend with a guard, or with branches to different ends, is entered by. */
  #entryChain({ branches, guard }: Frontend): ChainName {
    const external = this.#chainOnce('EXT', contentOf(branches), () => this.#branchRules(branches));
    if (!guard) return external;
    const content = `${external} ${guard.allowed.join()} ${guard.allowedOwn.join()}`;
    return this.#chainOnce('FW', content, () => this.#guardRules(guard, external));
  }

  #chainOnce(role: 'EXT' | 'FW', content: string, rules: () => readonly Rule[]): ChainName {
    const key = `${role} ${content}`;
    const known = this.#entryChains.get(key);
    if (known !== undefined) return known;
    const isFirst = ![...this.#entryChains.keys()].some((other) => other.startsWith(`${role} `));
    const chain = serviceChain(role, this.#owner, isFirst ? '' : `/${key}`);
    this.#entryChains.set(key, chain);
    this.#output.chains.set(chain, rules());
    return chain;
  }

  /** A source in a range goes on; the others fall back out of the chain and are dropped in filter. */
  #guardRules(guard: Guard, external: ChainName): readonly Rule[] {
    const { name, origin, family } = this.#owner;
    const length = family === 'ipv4' ? 32 : 128;
    const sources = [...guard.allowed, ...guard.allowedOwn.map((own) => `${own}/${length}`)];
    const allow = sources.map((source): Rule => {
      const match = sourceMatch(
        { ...fromAnywhere, address: `-s ${source}` },
        `${name} loadbalancer IP`,
      );
      return { args: `${match} -g ${external}`, origin };
    });
    const end = `other traffic to ${name} will be dropped by KUBE-PROXY-FIREWALL`;
    return [...allow, { args: sourceMatch(fromAnywhere, end), origin }];
  }

  #branchRules(branches: readonly Branch[]): readonly Rule[] {
    return branches.flatMap((branch): readonly Rule[] => {
      const source = branchMatch(branch.from, this.#context.node);
      if (source === undefined) return [];
      return branch.to.kind === 'pool'
        ? this.#poolBranch(branch.from, branch.to)
        : this.#verdictBranch(branch.from);
    });
  }

  #poolBranch(from: Branch['from'], to: PoolTarget): readonly Rule[] {
    const { origin, name, protocol } = this.#owner;
    const source = branchMatch(from, this.#context.node) ?? fromAnywhere;
    const rules: Rule[] = [];
    if (to.masquerade) {
      const why = `masquerade ${markedTexts[from]}traffic for ${name} external destinations`;
      rules.push({ args: `${sourceMatch(source, why)} ${this.#context.marks.set}`, origin });
    }
    const route = routeTexts[from];
    const why = route === '' ? '' : `${route} traffic for ${name} external destinations`;
    // DNAT to a port needs the protocol in the same rule.
    const inlined = this.#poolChains.has(to.pool) ? '' : `-p ${protocolText(protocol)}`;
    return [...rules, ...this.#toPool(to.pool, sourceMatch(source, why, inlined))];
  }

  /** Back to the leaf: nothing is translated, and the filter table has the verdict. */
  #verdictBranch(from: Branch['from']): readonly Rule[] {
    const source = branchMatch(from, this.#context.node);
    if (from === 'anywhere' || source === undefined) return [];
    return [{ args: `${sourceMatch(source)} -j RETURN`, origin: this.#owner.origin }];
  }
}

const markedTexts = { pod: 'pod ', node: 'LOCAL ', anywhere: '' } as const;
const routeTexts = { pod: 'pod', node: 'route LOCAL', anywhere: '' } as const;

/** Each pool of the branches counts twice, so that it gets a chain unless it has one endpoint. */
function branchPools(
  branches: readonly Branch[],
): readonly { readonly pool: PoolId; readonly count: number }[] {
  return branches.flatMap(({ to }) => (to.kind === 'pool' ? [{ pool: to.pool, count: 2 }] : []));
}

function contentOf(branches: readonly Branch[]): string {
  return branches.map(({ from, to }) => `${from}>${targetText(to)}`).join(' ');
}

function targetText(to: PoolTarget | Verdict): string {
  return to.kind === 'pool' ? `${to.pool}${to.masquerade ? '+' : '-'}` : 'verdict';
}
