import type { Address } from '../../../src/ip/address.ts';
import { hostPort } from '../../../src/ip/address.ts';
import { isOwn } from '../../../src/walk/match.ts';
import type { WalkedNode, WalkingPacket, World } from '../../../src/walk/packet.ts';
import { hook, order, outcome, starting } from '../../../src/walk/traverse.ts';
import type { Ended, WalkOutcome } from '../../../src/walk/traverse.ts';
import type { ParsedIpvs, ParsedRealServer, ParsedServer } from './parse.ts';

/**
 * Sends the first packet of a connection through rules and ipvs, in the kernel's order: what arrives meets filter before
 * ipvs, what the node sends meets it after; what ipvs has translated leaves by OUTPUT and POSTROUTING. nat is asked
 * once a connection. The outcomes' probabilities add up to 1.
 */
export function simulateIpvs(
  ipvs: ParsedIpvs,
  localAddresses: readonly Address[],
  packet: WalkingPacket,
): readonly WalkOutcome[] {
  const node = { localAddresses: [...localAddresses, ...ipvs.addresses], sets: ipvs.sets };
  const path = new Path(ipvs, node);
  const start = [starting(packet)];
  const ended = packet.inInterface === undefined ? path.leaving(start) : path.arriving(start);
  return ended.map(outcome);
}

const beforeIpvs = ['raw', 'mangle', 'nat'] as const;
/** What ipvs sends on is shown to OUTPUT as a whole, but nat has decided already. */
const onceMore = order.filter((table) => table !== 'nat');

class Path {
  readonly #ipvs: ParsedIpvs;
  readonly #node: WalkedNode;

  constructor(ipvs: ParsedIpvs, node: WalkedNode) {
    this.#ipvs = ipvs;
    this.#node = node;
  }

  /** From another machine or a pod. */
  arriving(start: readonly Ended[]): readonly Ended[] {
    return this.#hook('PREROUTING', start).flatMap((ended) => {
      if (!this.#isForUs(ended)) return this.#sent(this.#hook('FORWARD', [ended]));
      return this.#hook('INPUT', [ended], ['raw', 'mangle', 'filter']).flatMap((judged) => {
        const balanced = this.#balanced(judged);
        if (balanced === undefined) return this.#hook('INPUT', [judged], ['nat']);
        return balanced.flatMap((each) => this.#sentOn(each));
      });
    });
  }

  /** From the node itself. */
  leaving(start: readonly Ended[]): readonly Ended[] {
    return this.#hook('OUTPUT', start, beforeIpvs).flatMap((ended) => {
      const balanced = this.#balanced(ended);
      if (balanced === undefined) return this.#sent(this.#hook('OUTPUT', [ended], ['filter']));
      return balanced.flatMap((each) =>
        this.#isForUs(each)
          ? this.#sent(this.#hook('OUTPUT', [each], ['filter']))
          : this.#sentOn(each),
      );
    });
  }

  /** What ipvs has taken in: to a real server on this node it goes on as it came. */
  #sentOn(ended: Ended): readonly Ended[] {
    if (this.#isForUs(ended) && ended.world.packet.inInterface !== undefined) return [ended];
    return this.#sent(this.#hook('OUTPUT', [ended], onceMore));
  }

  /** Out by an interface; what the node sends to itself comes back over the loopback device. */
  #sent(all: readonly Ended[]): readonly Ended[] {
    return all.flatMap((ended) => {
      const toUs = this.#isForUs(ended);
      const sent = this.#hook('POSTROUTING', [toUs ? throughLoopback(ended) : ended]);
      return toUs ? this.#hook('INPUT', sent, ['raw', 'mangle', 'filter']) : sent;
    });
  }

  /** The packet's shares by real server; undefined where it is for no virtual server. */
  #balanced({ world, verdict }: Ended): readonly Ended[] | undefined {
    const { protocol, destination, destinationPort, state } = world.packet;
    const key = `${protocol} ${hostPort(destination, destinationPort)}`;
    const server = this.#ipvs.servers.get(key);
    if (verdict !== 'accept' || server === undefined || state !== 'NEW') return undefined;
    const shares = sharesOf(server);
    if (shares.length === 0) return [{ world, verdict: 'reject' }];
    const total = shares.reduce((sum, [, share]) => sum + share, 0);
    return shares.map(([real, share]) => ({
      world: translated(world, real, share / total),
      verdict: 'accept',
    }));
  }

  #isForUs({ world, verdict }: Ended): boolean {
    return verdict === 'accept' && isOwn(world.packet.destination, this.#node);
  }

  #hook(
    name: string,
    from: readonly Ended[],
    which: readonly (typeof order)[number][] = order,
  ): readonly Ended[] {
    return hook(this.#ipvs.rules, this.#node, name, from, which);
  }
}

/** A first connection's share of each real server; one that drains has none. */
function sharesOf({
  scheduler,
  real,
}: ParsedServer): readonly (readonly [ParsedRealServer, number])[] {
  const counts = weightsCount(scheduler);
  const taking = real.filter(({ weight }) => weight > 0);
  return taking.map((each) => [each, counts ? each.weight : 1]);
}

const heeding = new Set(['wrr', 'wlc', 'lblc', 'lblcr', 'sed', 'nq', 'sh', 'mh']);
const heedless = new Set(['rr', 'lc', 'dh']);

/** Whether a scheduler gives more to who has more weight; throws for one that is not about shares. */
export function weightsCount(scheduler: string): boolean {
  if (heeding.has(scheduler)) return true;
  if (heedless.has(scheduler)) return false;
  throw new Error(`no shares are known of the scheduler ${scheduler}`);
}

function translated(world: World, { address, port }: ParsedRealServer, share: number): World {
  const packet = { ...world.packet, destination: address, destinationPort: port };
  const probability = world.probability * share;
  return { ...world, packet, probability, translated: true, balanced: true };
}

function throughLoopback({ world, verdict }: Ended): Ended {
  return { verdict, world: { ...world, packet: { ...world.packet, outInterface: 'lo' } } };
}
