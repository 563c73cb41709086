import { parseAddress } from '../../../src/ip/address.ts';
import type { Address } from '../../../src/ip/address.ts';
import { isOwn, matchRule } from './match.ts';
import type { Place } from './match.ts';
import type { SimulatedNode, SimulatedPacket, World } from './packet.ts';
import type { ParsedRule, ParsedTables } from './parse.ts';

/** Where a share of the packets ends. */
export interface SimulatedOutcome {
  readonly kind: 'delivered' | 'reject' | 'drop';
  readonly destination: Address;
  readonly port: number;
  readonly translated: boolean;
  readonly masqueraded: boolean;
  readonly probability: number;
}

type Verdict = 'accept' | 'drop' | 'reject' | 'return';

/** A share of the packets, and what the rules so far say of it. */
export interface Ended {
  readonly world: World;
  readonly verdict: Verdict;
}

/** The tables of a hook, in the order in which they are asked. */
export const order = ['raw', 'mangle', 'nat', 'filter'] as const;

/** Sends the packet through the rules; the outcomes' probabilities add up to 1. */
export function simulate(
  tables: ParsedTables,
  node: SimulatedNode,
  packet: SimulatedPacket,
): readonly SimulatedOutcome[] {
  const first = packet.inInterface === undefined ? 'OUTPUT' : 'PREROUTING';
  return hook(tables, node, first, [starting(packet)])
    .flatMap((ended) => afterRouting(tables, node, first, ended))
    .map(outcome);
}

/** All of a packet, before any rule. */
export function starting(packet: SimulatedPacket): Ended {
  const world = { packet, mark: 0, translated: false, masqueraded: false, probability: 1 };
  return { world, verdict: 'accept' };
}

function afterRouting(
  tables: ParsedTables,
  node: SimulatedNode,
  first: string,
  ended: Ended,
): readonly Ended[] {
  if (first === 'OUTPUT') {
    // What the node sends to itself comes back over the loopback device; nat has seen it already.
    return hook(tables, node, 'POSTROUTING', [ended]).flatMap((sent) =>
      isOwn(sent.world.packet.destination, node) ? hook(tables, node, 'INPUT', [sent]) : [sent],
    );
  }
  if (isOwn(ended.world.packet.destination, node)) return hook(tables, node, 'INPUT', [ended]);
  return hook(tables, node, 'POSTROUTING', hook(tables, node, 'FORWARD', [ended]));
}

/** Where a share of the packets ends, once no table is left. */
export function outcome({ world, verdict }: Ended): SimulatedOutcome {
  const { packet, translated, masqueraded, probability } = world;
  const { destination, destinationPort: port } = packet;
  const kind = verdict === 'drop' || verdict === 'reject' ? verdict : 'delivered';
  return { kind, destination, port, translated, masqueraded, probability };
}

/** All tables of one hook, or some of them, each for the packets the table before let through. */
export function hook(
  tables: ParsedTables,
  node: SimulatedNode,
  name: string,
  from: readonly Ended[],
  which: readonly (typeof order)[number][] = order,
): readonly Ended[] {
  let flowing = from;
  for (const table of which) {
    const chain = tables.get(table)?.get(name);
    if (!chain) continue;
    flowing = flowing.flatMap((ended) => {
      if (ended.verdict !== 'accept') return [ended];
      // Only the first packet of a connection is shown to nat; the connection remembers the rest.
      if (table === 'nat' && ended.world.packet.state !== 'NEW') return [ended];
      const place = placeOf(node, name, ended.world.packet);
      return new Walk(tables, table, place).chain(name, 0, ended.world).map((each) => {
        if (each.verdict !== 'return') return each;
        return { world: each.world, verdict: chain.policy === 'DROP' ? 'drop' : 'accept' };
      });
    });
  }
  return flowing;
}

function placeOf(node: SimulatedNode, name: string, packet: SimulatedPacket): Place {
  const hasIn = name === 'PREROUTING' || name === 'INPUT' || name === 'FORWARD';
  const hasOut = name !== 'PREROUTING' && name !== 'INPUT';
  return {
    node,
    inInterface: hasIn ? (packet.inInterface ?? 'lo') : undefined,
    outInterface: hasOut ? packet.outInterface : undefined,
  };
}

class Walk {
  readonly #tables: ParsedTables;
  readonly #table: string;
  readonly #place: Place;

  constructor(tables: ParsedTables, table: string, place: Place) {
    this.#tables = tables;
    this.#table = table;
    this.#place = place;
  }

  /** From rule `at` of the chain; `return`: goes on behind the last `-j`. */
  chain(name: string, at: number, world: World): readonly Ended[] {
    const { rules } = this.#chainOf(name);
    const ended: Ended[] = [];
    let left = world;
    // A loop where packets pass a rule by: chains of thousands of rules would use up the stack.
    for (const [i, rule] of rules.slice(at).entries()) {
      const chance = matchRule(rule, left, this.#place);
      if (chance === 0) continue;
      const next = (w: World): readonly Ended[] => this.chain(name, at + i + 1, w);
      ended.push(...this.#target(rule, scaled(left, chance), next));
      if (chance === 1) return ended;
      left = scaled(left, 1 - chance);
    }
    ended.push({ world: left, verdict: 'return' });
    return ended;
  }

  #chainOf(name: string) {
    const chain = this.#tables.get(this.#table)?.get(name);
    if (!chain) throw new Error(`no chain or target ${name} in ${this.#table}`);
    return chain;
  }

  #target(rule: ParsedRule, world: World, next: (w: World) => readonly Ended[]): readonly Ended[] {
    const index = rule.options.findIndex(({ name }) => name === '-j' || name === '-g');
    const option = rule.options[index];
    const target = option?.values[0] ?? '';
    const value = rule.options[index + 1]?.values[0] ?? '';
    if (!option) return next(world);
    // A goto leaves nothing behind: its end is the end of this chain.
    if (option.name === '-g') return this.chain(target, 0, world);
    const verdict = verdicts.get(target);
    if (verdict !== undefined) return [{ world, verdict }];
    switch (target) {
      case 'MASQUERADE':
        return [{ world: { ...world, masqueraded: true }, verdict: 'accept' }];
      case 'DNAT':
        return [{ world: translate(world, value), verdict: 'accept' }];
      case 'MARK':
        return next({ ...world, mark: marked(world.mark, rule, index) });
      case 'SET':
        return next(world);
      default:
        return this.chain(target, 0, world).flatMap((ended) =>
          ended.verdict === 'return' ? next(ended.world) : [ended],
        );
    }
  }
}

/** Targets that end a packet's way through a table, or through a chain. */
const verdicts: ReadonlyMap<string, Ended['verdict']> = new Map([
  ['ACCEPT', 'accept'],
  ['DROP', 'drop'],
  ['REJECT', 'reject'],
  ['RETURN', 'return'],
]);

function scaled(world: World, by: number): World {
  return by === 1 ? world : { ...world, probability: world.probability * by };
}

function translate(world: World, to: string): World {
  const [, host = '', port = ''] = /^\[?([^\]]*?)\]?:(\d+)$/.exec(to) ?? [];
  const destination = parseAddress(host);
  if (destination === undefined) throw new Error(`no DNAT destination: ${to}`);
  const packet = { ...world.packet, destination, destinationPort: Number(port) };
  return { ...world, packet, translated: true };
}

function marked(mark: number, rule: ParsedRule, index: number): number {
  const { name, values } = rule.options[index + 1] ?? { name: '', values: [] };
  const [value = 0, mask = 0xffffffff] = (values[0] ?? '').split('/').map(Number);
  switch (name) {
    case '--set-xmark':
      return ((mark & ~mask) ^ value) >>> 0;
    case '--set-mark':
      return ((mark & ~mask) | value) >>> 0;
    case '--or-mark':
      return (mark | value) >>> 0;
    case '--and-mark':
      return (mark & value) >>> 0;
    case '--xor-mark':
      return (mark ^ value) >>> 0;
    default:
      throw new Error(`MARK without an operation: ${rule.text}`);
  }
}
