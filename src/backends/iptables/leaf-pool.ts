import type { Origin, Pool, PoolEndpoint } from '../../graph/rule-graph.ts';
import { hostPort } from '../../ip/address.ts';
import { affinitySet, endpointChain, protocolText, randomTreeChain } from './chain-names.ts';
import type { NameOwner } from './chain-names.ts';
import { words } from './matches.ts';
import { randomTree, statisticMatch } from './random-tree.ts';
import type { Choice } from './random-tree.ts';
import { comment } from './static-rules.ts';
import type { ChainName, Features, IpsetSpec, Rule, SetName } from './state.ts';
import type { Family } from '../../ip/address.ts';

/** Where the lowering of a service port puts its chains and sets. */
export interface Output {
  readonly chains: Map<ChainName, readonly Rule[]>;
  readonly sets: Map<SetName, IpsetSpec>;
}

/** What the rules of a pool need to know of their service port. */
export interface PoolOwner extends NameOwner {
  readonly origin: Origin;
  readonly family: Family;
  readonly affinity: Features['affinity'];
  /** Whether rules of endpoints have comments. */
  readonly comments: boolean;
}

/** Endpoints whose rules may stand in a leaf, beside those of other frontends: bigger pools have a chain. */
export const maxInlined = 8;

/** DNAT rules, one an endpoint, each with the given match of the frontend before its die. */
export function inlinePool(pool: Pool, match: string, origin: Origin): readonly Rule[] {
  let left = 0;
  for (const { weight } of pool.endpoints) left += weight;
  return pool.endpoints.map((endpoint) => {
    const statistic = statisticMatch(endpoint.weight, left);
    left -= endpoint.weight;
    return { args: words(match, statistic, dnat(endpoint)), origin };
  });
}

/** Writes the chain of a pool, with all chains and sets below it. */
export function writePool(pool: Pool, chain: ChainName, owner: PoolOwner, output: Output): void {
  const remembered: Rule[] = [];
  const choices = pool.endpoints.map((endpoint): Choice => {
    const key = hostPort(endpoint.address, endpoint.port);
    const why = owner.comments ? comment(`${owner.name} -> ${key}`) : '';
    if (!pool.affinity) return dnatChoice(endpoint, key, why, owner);
    const { timeoutSeconds } = pool.affinity;
    const sticky = writeEndpoint(endpoint, timeoutSeconds, owner, output);
    const args = words(why, sticky.remembers, `-j ${sticky.chain}`);
    remembered.push({ args, origin: owner.origin });
    return {
      key,
      weight: endpoint.weight,
      rule: (statistic) => ({
        args: words(why, statistic, `-j ${sticky.chain}`),
        origin: owner.origin,
      }),
    };
  });
  const tree = randomTree(choices, (path) => randomTreeChain(owner, chain, path));
  output.chains.set(chain, [...remembered, ...tree.rules]);
  for (const [name, rules] of tree.chains) output.chains.set(name, rules);
}

function dnatChoice(endpoint: PoolEndpoint, key: string, why: string, owner: PoolOwner): Choice {
  const protocol = `-p ${protocolText(owner.protocol)}`;
  return {
    key,
    weight: endpoint.weight,
    rule: (statistic) => ({
      args: words(protocol, why, statistic, dnat(endpoint)),
      origin: owner.origin,
    }),
  };
}

/**
 * The chain of an endpoint that remembers its clients: noted at each new connection, then DNAT. It is
 * named by service port and endpoint, so all pools of the service port share the memory.
 */
function writeEndpoint(
  endpoint: PoolEndpoint,
  timeoutSeconds: number,
  owner: PoolOwner,
  output: Output,
): { readonly chain: ChainName; readonly remembers: string } {
  const key = hostPort(endpoint.address, endpoint.port);
  const chain = endpointChain(owner, key);
  const { origin } = owner;
  const protocol = `-p ${protocolText(owner.protocol)}`;
  const why = owner.comments ? comment(owner.name) : '';
  if (owner.affinity === 'recent') {
    const note = `-m recent --set --name ${chain}`;
    output.chains.set(chain, [{ args: words(protocol, why, note, dnat(endpoint)), origin }]);
    return {
      chain,
      remembers: `-m recent --rcheck --seconds ${timeoutSeconds} --reap --name ${chain}`,
    };
  }
  const set = affinitySet(owner, key, timeoutSeconds);
  const family = owner.family === 'ipv4' ? 'inet' : 'inet6';
  output.sets.set(set, {
    name: set,
    create: `hash:ip family ${family} hashsize 64 maxelem 262144 timeout ${timeoutSeconds}`,
    members: undefined,
  });
  const note = `-j SET --add-set ${set} src --exist --timeout ${timeoutSeconds}`;
  output.chains.set(chain, [
    { args: words(why, note), origin },
    { args: words(protocol, why, dnat(endpoint)), origin },
  ]);
  return { chain, remembers: `-m set --match-set ${set} src` };
}

function dnat({ address, port }: PoolEndpoint): string {
  return `-j DNAT --to-destination ${hostPort(address, port)}`;
}
