import { portCount, portRangeText, portsWithout } from '../../ip/port-range.ts';
import type { PortRange } from '../../ip/port-range.ts';
import type { ListenerKey, RelayProtocol } from '../../relay/relay.ts';
import type { ListenerPort } from './state.ts';

/** The ports listeners may have. */
export interface PortSupply {
  /** Those of a later tier are for when all of the earlier ones are taken. None is empty. */
  readonly tiers: readonly (readonly PortRange[])[];
  /** How a reader calls them: `--proxy-port-range=20000-20999`. */
  readonly name: string;
}

/** What is known of the node's ports. */
export interface NodePortsInUse {
  /** Of the cluster's node ports: 30000-32767, unless it is told otherwise. */
  readonly nodePorts: PortRange;
  /** Those the kernel gives to clients: net.ipv4.ip_local_port_range. */
  readonly ephemeral: PortRange;
}

/** What nobody needs root for, in two: where programs of a node seldom have their fixed ports, and where they often do. */
const high: PortRange = { first: 20_000, last: 65_535 };
const low: PortRange = { first: 1024, last: 19_999 };

/**
 * The ports to choose from where no range is given: never a node port, and one that the kernel gives to clients only where no
 * other is left.
 */
export function usualPorts({ nodePorts, ephemeral }: NodePortsInUse): PortSupply {
  const beside = portsWithout([low, high], [nodePorts]);
  const tiers = [
    portsWithout(beside, [low, ephemeral]),
    portsWithout(beside, [high, ephemeral]),
    portsWithout(beside, portsWithout([low, high], [ephemeral])),
  ];
  return { tiers: tiers.filter((tier) => tier.length > 0), name: '1024-65535' };
}

/** The ports of `--proxy-port-range`. */
export function rangePorts(range: PortRange): PortSupply {
  return { tiers: [[range]], name: `--proxy-port-range=${portRangeText(range)}` };
}

/** A listener that needs a port. */
export interface PortAsker {
  readonly key: ListenerKey;
  readonly protocol: RelayProtocol;
}

export interface PortChooserParts {
  readonly supply: PortSupply;
  /** From 0 to less than 1. */
  readonly random: () => number;
  /** Those of an earlier run, by key. */
  readonly kept?: ReadonlyMap<ListenerKey, number>;
}

type Taken = `${RelayProtocol}/${number}`;

/**
 * Gives ports to listeners: the one a listener had, or else one at random. It knows nothing of sockets: who finds a port in
 * use says so ({@link PortChooser.passOver}) and asks again.
 */
export class PortChooser {
  readonly #supply: PortSupply;
  readonly #random: () => number;
  /** Ports by key; those of an earlier run stay until they are asked for. */
  readonly #ports: Map<ListenerKey, number>;
  readonly #holders = new Map<Taken, ListenerKey>();
  /** In use by others. */
  readonly #passedOver = new Set<Taken>();

  constructor({ supply, random, kept = new Map() }: PortChooserParts) {
    this.#supply = supply;
    this.#random = random;
    this.#ports = new Map(kept);
  }

  /** A port for each, or why there is none. Ports that are kept are given first. */
  choose(askers: Iterable<PortAsker>): ReadonlyMap<ListenerKey, ListenerPort> {
    const all = [...askers];
    const found = new Map<ListenerKey, ListenerPort>();
    for (const asker of all) {
      const port = this.#kept(asker);
      if (port !== undefined) found.set(asker.key, { port });
    }
    for (const asker of all) if (!found.has(asker.key)) found.set(asker.key, this.#choose(asker));
    return found;
  }

  /** The port could not be opened: nobody is given it from now on. */
  passOver({ key, protocol }: PortAsker): void {
    const port = this.#ports.get(key);
    if (port === undefined) return;
    this.release({ key, protocol });
    this.#passedOver.add(`${protocol}/${port}`);
  }

  /** Ports that others used may be free again. */
  forgive(): void {
    this.#passedOver.clear();
  }

  /** The listener is gone, and so is its port. */
  release({ key, protocol }: PortAsker): void {
    const port = this.#ports.get(key);
    if (port === undefined) return;
    const taken: Taken = `${protocol}/${port}`;
    if (this.#holders.get(taken) === key) this.#holders.delete(taken);
    this.#ports.delete(key);
  }

  #kept({ key, protocol }: PortAsker): number | undefined {
    const port = this.#ports.get(key);
    if (port === undefined) return undefined;
    const taken: Taken = `${protocol}/${port}`;
    if (this.#holders.get(taken) === key) return port;
    if (!this.#isSupplied(port) || !this.#isFree(taken)) return undefined;
    this.#holders.set(taken, key);
    return port;
  }

  #choose({ key, protocol }: PortAsker): ListenerPort {
    const { tiers, name } = this.#supply;
    for (const tier of tiers) {
      const port = this.#among(tier, protocol);
      if (port === undefined) continue;
      this.#ports.set(key, port);
      this.#holders.set(`${protocol}/${port}`, key);
      return { port };
    }
    this.#ports.delete(key);
    const total = tiers.reduce((sum, tier) => sum + portCount(tier), 0);
    return { refused: `no ${protocol} port is free: all ${total} of ${name} are in use` };
  }

  /** A free port: one at random, or the next after it. */
  #among(ranges: readonly PortRange[], protocol: RelayProtocol): number | undefined {
    const total = portCount(ranges);
    const start = Math.floor(this.#random() * total);
    for (let step = 0; step < total; step++) {
      const port = portAt(ranges, (start + step) % total);
      if (this.#isFree(`${protocol}/${port}`)) return port;
    }
    return undefined;
  }

  #isFree(taken: Taken): boolean {
    return !this.#holders.has(taken) && !this.#passedOver.has(taken);
  }

  #isSupplied(port: number): boolean {
    return this.#supply.tiers.some((tier) =>
      tier.some(({ first, last }) => first <= port && port <= last),
    );
  }
}

function portAt(ranges: readonly PortRange[], index: number): number {
  let left = index;
  for (const { first, last } of ranges) {
    if (left <= last - first) return first + left;
    left -= last - first + 1;
  }
  throw new RangeError(`there is no port of number ${index}`);
}
