import { SwitchyardError } from '../error.ts';
import type { Address } from '../ip/address.ts';
import { isOwn, matchRule } from './match.ts';
import type { Place } from './match.ts';
import type { Assumption, Trail, WalkedNode, WalkingPacket, World } from './packet.ts';
import type { Option, ParsedRule, ParsedTables } from './parse.ts';
import { effectOf } from './targets.ts';
import type { Verdict } from './targets.ts';

/** Where a share of the packets ends. `unknown`: at a target that is not understood. */
export interface WalkOutcome {
  readonly kind: 'delivered' | 'reject' | 'drop' | 'unknown';
  readonly destination: Address;
  readonly port: number;
  readonly translated: boolean;
  readonly masqueraded: boolean;
  readonly newSource: string | undefined;
  /** Of the outcomes under the same assumptions these add up to 1. */
  readonly probability: number;
  readonly trail: Trail | undefined;
  readonly assumed: readonly Assumption[];
}

/** A share of the packets, and what the rules so far say of it. */
export interface Ended {
  readonly world: World;
  readonly verdict: Verdict;
}

/** How to go. */
export interface WalkOptions {
  /** Where a rule asks what nobody can answer: `refuse` throws, `both` goes on with either answer. */
  readonly unknown: 'refuse' | 'both';
  /** Remember each rule that did something. */
  readonly trace: boolean;
  /** How much may be done yet; left out: as much as there is. */
  readonly effort?: Effort;
}

const strict: WalkOptions = { unknown: 'refuse', trace: false };

/** So many open questions have both answers; whatever else is not known is taken not to hold. */
export const mostAssumptions = 4;

/** Rules that are met by shares of one packet. Twenty that part what goes on behind them make a million shares. */
const mostMeetings = 200_000;

/** What is left of what may be done for one packet. */
class Effort {
  #left = mostMeetings;

  spend(): void {
    if (this.#left-- > 0) return;
    throw new SwitchyardError(
      'usage',
      'the rules part this packet in more ways than can be followed',
      {
        hint: 'take out of the dump what does not matter (matches of probability that only log or mark)',
      },
    );
  }
}

/** The tables of a hook, in the order in which they are asked. */
export const order = ['raw', 'mangle', 'nat', 'filter'] as const;
type Table = (typeof order)[number];

/** Sends the packet through the rules; the outcomes' probabilities add up to 1. */
export function walk(
  tables: ParsedTables,
  node: WalkedNode,
  packet: WalkingPacket,
  how: WalkOptions = strict,
): readonly WalkOutcome[] {
  const options = { effort: new Effort(), ...how };
  const first = packet.inInterface === undefined ? 'OUTPUT' : 'PREROUTING';
  return hook(tables, node, first, [starting(packet)], order, options)
    .flatMap((ended) => afterRouting(tables, node, first, ended, options))
    .map(outcome);
}

/** All of a packet, before any rule. */
export function starting(packet: WalkingPacket): Ended {
  const world = { packet, mark: 0, translated: false, masqueraded: false, probability: 1 };
  return { world, verdict: 'accept' };
}

function afterRouting(
  tables: ParsedTables,
  node: WalkedNode,
  first: string,
  ended: Ended,
  options: WalkOptions,
): readonly Ended[] {
  const through = (name: string, from: readonly Ended[]): readonly Ended[] =>
    hook(tables, node, name, from, order, options);
  if (first === 'OUTPUT') {
    // What the node sends to itself comes back over the loopback device; nat has seen it already.
    return through('POSTROUTING', [ended]).flatMap((sent) =>
      isOwn(sent.world.packet.destination, node) ? through('INPUT', [sent]) : [sent],
    );
  }
  if (isOwn(ended.world.packet.destination, node)) return through('INPUT', [ended]);
  return through('POSTROUTING', through('FORWARD', [ended]));
}

/** Where a share of the packets ends, once no table is left. */
export function outcome({ world, verdict }: Ended): WalkOutcome {
  const { packet, translated, masqueraded, newSource, probability, trail, assumed = [] } = world;
  const { destination, destinationPort: port } = packet;
  const isEnd = verdict === 'drop' || verdict === 'reject' || verdict === 'unknown';
  const kind = isEnd ? verdict : 'delivered';
  return {
    kind,
    destination,
    port,
    translated,
    masqueraded,
    newSource,
    probability,
    trail,
    assumed,
  };
}

/** All tables of one hook, or some of them, each for the packets the table before let through. */
export function hook(
  tables: ParsedTables,
  node: WalkedNode,
  name: string,
  from: readonly Ended[],
  which: readonly Table[] = order,
  options: WalkOptions = strict,
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
      const path = new Path(tables, table, place, options);
      return path.chain(name, ended.world).map((each) => {
        if (each.verdict !== 'return') return each;
        if (chain.policy !== 'DROP') return { world: each.world, verdict: 'accept' as const };
        return { world: path.atPolicy(each.world, name, 'DROP'), verdict: 'drop' as const };
      });
    });
  }
  return flowing;
}

function placeOf(node: WalkedNode, name: string, packet: WalkingPacket): Place {
  const hasIn = name === 'PREROUTING' || name === 'INPUT' || name === 'FORWARD';
  const hasOut = name !== 'PREROUTING' && name !== 'INPUT';
  return {
    node,
    inInterface: hasIn ? (packet.inInterface ?? 'lo') : undefined,
    outInterface: hasOut ? packet.outInterface : undefined,
  };
}

/** A rule, and where it is. */
interface Met {
  readonly chain: string;
  /** From 1. */
  readonly number: number;
  readonly rule: ParsedRule;
}

/** What a rule makes of a packet; `pass`: it goes on behind the rule. */
interface Left {
  readonly world: World;
  readonly verdict: Verdict | 'pass';
}

class Path {
  /** The chains that the packet is in, the first one first. */
  readonly #within: string[] = [];
  readonly #tables: ParsedTables;
  readonly #table: string;
  readonly #place: Place;
  readonly #options: WalkOptions;

  constructor(tables: ParsedTables, table: string, place: Place, options: WalkOptions) {
    this.#tables = tables;
    this.#table = table;
    this.#place = place;
    this.#options = options;
  }

  /** All of a chain; `return`: goes on behind the last `-j`. */
  chain(name: string, world: World): readonly Ended[] {
    const circle = this.#within.indexOf(name);
    if (circle !== -1) {
      const names = [...this.#within.slice(circle), name].join(' → ');
      throw new SwitchyardError('usage', `chains of ${this.#table} lead in a circle: ${names}`);
    }
    this.#within.push(name);
    const ended = this.#rules(name, 0, world);
    this.#within.pop();
    return ended;
  }

  /** From rule `at` of the chain. */
  #rules(name: string, at: number, world: World): readonly Ended[] {
    const { rules } = this.#chainOf(name);
    const ended: Ended[] = [];
    let left: World | undefined = world;
    // A loop where packets go on: chains of thousands of rules would use up the stack.
    for (const [i, rule] of rules.slice(at).entries()) {
      if (!rule.options.some(isTarget)) continue; // it only counts
      const number = at + i + 1;
      const { chance, unknown } = matchRule(rule, left, this.#place);
      if (chance === 0) continue;
      const { met, passed } = this.#parted(left, rule, chance, unknown);
      const made =
        met && this.#target(rule, this.#stepped(met, { chain: name, number, rule }, chance));
      const goingOn: World[] = [];
      for (const { world: after, verdict } of made ?? []) {
        if (verdict === 'pass') goingOn.push(after);
        else ended.push({ world: after, verdict });
      }
      goingOn.push(...passed.toReversed());
      left = goingOn.pop();
      // Of several worlds that go on, one does so here.
      for (const other of goingOn) {
        for (const each of this.#rules(name, number, other)) ended.push(each);
      }
      if (left === undefined) return ended;
    }
    ended.push({ world: left, verdict: 'return' });
    return ended;
  }

  /** The share that a rule takes, if any, and those that pass it by. */
  #parted(
    world: World,
    rule: ParsedRule,
    chance: number,
    unknown: string,
  ): { readonly met: World | undefined; readonly passed: readonly World[] } {
    const { yes, no } = unknown === '' ? { yes: world } : this.#assume(world, rule, unknown);
    const passed = no === undefined ? [] : [no];
    if (yes === undefined) return { met: undefined, passed };
    if (chance < 1) passed.push(scaled(yes, 1 - chance));
    return { met: scaled(yes, chance), passed };
  }

  /** A world at the end of a built-in chain. */
  atPolicy(world: World, chain: string, policy: string): World {
    return this.#trace(world, { chain, number: 0, text: `policy ${policy}`, chance: 1 });
  }

  /** The worlds in which what is asked holds, and does not; a question has the same answer each time. */
  #assume(world: World, rule: ParsedRule, asked: string): { yes?: World; no?: World } {
    if (this.#options.unknown === 'refuse') throw new Error(`unknown match ${asked}: ${rule.text}`);
    const { assumed = [] } = world;
    const before = assumed.find((each) => each.asked === asked);
    if (before !== undefined) return before.holds ? { yes: world } : { no: world };
    const as = (holds: boolean): World => ({ ...world, assumed: [...assumed, { asked, holds }] });
    return assumed.length < mostAssumptions ? { yes: as(true), no: as(false) } : { no: as(false) };
  }

  #stepped(world: World, { chain, number, rule }: Met, chance: number): World {
    const text = rule.text.replace(/^-[AI] \S+ (?:\d+ )?/, '');
    return this.#trace(world, { chain, number, text, chance });
  }

  #trace(world: World, step: Omit<Trail['step'], 'table'>): World {
    if (!this.#options.trace) return world;
    return { ...world, trail: { step: { table: this.#table, ...step }, before: world.trail } };
  }

  #chainOf(name: string) {
    const chain = this.#tables.get(this.#table)?.get(name);
    if (!chain) throw new Error(`no chain or target ${name} in ${this.#table}`);
    return chain;
  }

  #target(rule: ParsedRule, world: World): readonly Left[] {
    this.#options.effort?.spend();
    const index = rule.options.findIndex(isTarget);
    const option = rule.options[index];
    const target = option?.values[0] ?? '';
    // A goto leaves nothing behind: its end is the end of this chain.
    if (option?.name === '-g') return this.chain(target, world);
    const effect = effectOf(target, rule, index, world, this.#place.node);
    if (effect !== undefined) return [{ verdict: 'pass', ...effect }];
    const isChain = this.#tables.get(this.#table)?.has(target) === true;
    if (!isChain && this.#options.unknown === 'both') return [{ world, verdict: 'unknown' }];
    return this.chain(target, world).map((ended) =>
      ended.verdict === 'return' ? { ...ended, verdict: 'pass' } : ended,
    );
  }
}

function isTarget({ name }: Option): boolean {
  return name === '-j' || name === '-g';
}

function scaled(world: World, by: number): World {
  return by === 1 ? world : { ...world, probability: world.probability * by };
}
