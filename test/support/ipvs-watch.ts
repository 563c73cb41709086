// What becomes of packets while tools change a node in ipvs mode, line by line.
import { parseAddress } from '../../src/ip/address.ts';
import type { Address } from '../../src/ip/address.ts';
import type { Attempt } from './arbitraries.ts';
import type { FakeIpvsNode } from './fake-ipvs-node.ts';
import { parseTables } from '../../src/walk/parse.ts';
import type { ParsedTables } from '../../src/walk/parse.ts';
import type { Changes } from './ipvs-changes.ts';
import type { ParsedRealServer, ParsedServer } from './ipvs-simulator/parse.ts';
import { simulateIpvs } from './ipvs-simulator/traverse.ts';

/**
 * What each packet may end in: `reject`, `drop`, `on` (not for us), `host` (the node's own sockets), or endpoints, with ` bare`
 * where these see the packet's own source.
 */
export type Moment = readonly ReadonlySet<string>[];

/** Whether an end is explained by those that a packet meets in settled states. */
export type Explanation = (end: string, known: ReadonlySet<string>, packet: Attempt) => boolean;

/** An end that nothing explains. */
export interface StrangeEnd {
  readonly packet: Attempt;
  readonly end: string;
  readonly known: readonly string[];
  /** The line after which the packet met it. */
  readonly after: string;
}

/** Watches some packets on a node, from the start to the end of what changes it. */
export class Watch {
  readonly #node: FakeIpvsNode;
  readonly #local: readonly Address[];
  readonly #packets: readonly Attempt[];
  readonly #fromItself: boolean;
  readonly #moments: { readonly after: string; readonly ends: Moment }[] = [];
  #tables: ParsedTables;

  constructor(node: FakeIpvsNode, { node: context, packets, fromItself }: Watched) {
    this.#node = node;
    this.#local = context.localAddresses;
    this.#packets = packets;
    this.#fromItself = fromItself;
    this.#tables = parseTables(node.save());
  }

  /** What the packets meet now. */
  now(): Moment {
    this.#tables = parseTables(this.#node.save());
    return this.#packets.map((each) => this.#ends(each));
  }

  /** Looks now, and from now on after every line that may concern a packet. Gives what they meet now. */
  begin(): Moment {
    const ends = this.now();
    this.#moments.push({ after: 'the start', ends });
    this.#node.onStep = this.step;
    return ends;
  }

  /** Looks after a line of a tool, if it may concern a packet. */
  readonly step = (tool: string, line: string): void => {
    if (tool === 'iptables-restore') this.#tables = parseTables(this.#node.save());
    const concerns =
      /^(?:COMMIT|swap)/.test(line) ||
      this.#packets.some(({ destination }) => line.includes(destination));
    if (!concerns) return;
    const ends = this.#packets.map((each) => this.#ends(each));
    this.#moments.push({ after: `${tool}: ${line}`, ends });
  };

  /** Looks a last time, and at nothing more. Gives what the packets meet now. */
  end(): Moment {
    const ends = this.now();
    this.#moments.push({ after: 'the end', ends });
    this.#node.onStep = () => {};
    return ends;
  }

  /** What packets met that settled states do not explain; of each packet the first such moment. */
  strange(
    settled: readonly Moment[],
    isExplained: Explanation = isKnownOrRefused,
  ): readonly StrangeEnd[] {
    return this.#packets.flatMap((packet, i) => {
      const known = new Set(settled.flatMap((moment) => [...(moment[i] ?? [])]));
      const strange = this.#moments.flatMap(({ after, ends }) =>
        [...(ends[i] ?? [])]
          .filter((end) => !isExplained(end, known, packet))
          .map((end) => ({ packet, end, known: [...known], after })),
      );
      return strange.slice(0, 1);
    });
  }

  #ends(attempt: Attempt): ReadonlySet<string> {
    const addresses = [...(this.#node.device ?? [])].map((text) => parseAddress(text) as Address);
    const own = new Set([...this.#local, ...addresses]);
    const { destination, inInterface } = attempt;
    const isItself =
      this.#fromItself && inInterface === undefined && addresses.includes(destination);
    const source = isItself ? destination : attempt.source;
    const ipvs = {
      rules: this.#tables,
      sets: new Map([...this.#node.sets].map(([name, { members }]) => [name, members])),
      servers: this.#servers(attempt),
      addresses,
    };
    const packet = {
      ...attempt,
      source,
      protocol: attempt.protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp',
      destinationPort: attempt.port,
      sourcePort: 40_000,
      outInterface: 'eth0',
      state: 'NEW' as const,
    };
    const ended = simulateIpvs(ipvs, this.#local, packet).map((end) => {
      if (end.kind !== 'delivered') return end.kind;
      if (end.translated) return `${end.destination}:${end.port}${end.masqueraded ? '' : ' bare'}`;
      return own.has(end.destination) ? 'host' : 'on';
    });
    return new Set(ended);
  }

  /** The one that the packet may be for. */
  #servers({ protocol, destination, port }: Attempt): ReadonlyMap<string, ParsedServer> {
    const flag = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service' }[protocol];
    const server = this.#node.servers.get(`${flag} ${destination}:${port}`);
    if (server === undefined) return new Map();
    const { scheduler, persistent, realServers } = server;
    const real = [...realServers].map(([text, { weight }]): ParsedRealServer => {
      const [host = '', at] = text.split(':');
      return { address: parseAddress(host) as Address, port: Number(at), weight };
    });
    const parsed = { scheduler, persistentSeconds: persistent, real };
    return new Map([[`${protocol.toLowerCase()} ${destination}:${port}`, parsed]]);
  }
}

/** What a {@link Watch} looks at. */
type Watched = Pick<Changes, 'node' | 'packets' | 'fromItself'>;

/**
 * The strictest explanation: a packet is refused, or meets what it meets in a settled state. That a source is hidden from an
 * endpoint too early or late is no harm.
 */
export function isKnownOrRefused(end: string, known: ReadonlySet<string>): boolean {
  const isRefusal = end === 'reject' || end === 'drop';
  return isRefusal || known.has(end) || known.has(`${end} bare`);
}
