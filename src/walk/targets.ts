import { parseAddress } from '../ip/address.ts';
import type { Address } from '../ip/address.ts';
import { named } from './named.ts';
import type { WalkedNode, World } from './packet.ts';
import type { Option, ParsedRule } from './parse.ts';

/** What becomes of a share of the packets in a table. `unknown`: a target that is not understood has it. */
export type Verdict = 'accept' | 'drop' | 'reject' | 'return' | 'unknown';

/** What a target makes of a packet: its end in this table, or it goes on behind the rule. undefined: no target of the kernel's. */
export type TargetEffect =
  | { readonly verdict: Verdict; readonly world: World }
  | { readonly world: World }
  | undefined;

const verdicts: ReadonlyMap<string, Verdict> = new Map([
  ['ACCEPT', 'accept'],
  ['DROP', 'drop'],
  ['REJECT', 'reject'],
  ['RETURN', 'return'],
]);

/** Targets that change nothing that rules of ours or the way of a packet depend on. */
const passing: ReadonlySet<string> = new Set(
  'SET LOG NFLOG ULOG TRACE AUDIT TCPMSS CHECKSUM CLASSIFY DSCP TOS TTL HL SECMARK CONNSECMARK RATEEST LED'.split(
    ' ',
  ),
);

/** Targets of the kernel that end a packet's way through a table in a manner that cannot be told from the rules. */
const opaque: ReadonlySet<string> = new Set(
  'NFQUEUE QUEUE TPROXY NETMAP TARPIT DELUDE SYNPROXY MIRROR ECHO'.split(' '),
);

type Effect = (
  world: World,
  option: Option | undefined,
  node: WalkedNode,
  others: readonly Option[],
) => TargetEffect;

const effects: ReadonlyMap<string, Effect> = named<Effect>({
  MASQUERADE: (world) => ({ verdict: 'accept', world: { ...world, masqueraded: true } }),
  SNAT: (world, option) => ({
    verdict: 'accept',
    world: { ...world, masqueraded: true, newSource: option?.values[0] ?? '' },
  }),
  DNAT: (world, option) => translate(world, option?.values[0] ?? ''),
  REDIRECT: (world, option, { localAddresses: [own] }) => {
    const loopback = world.packet.source.includes(':') ? '::1' : '127.0.0.1';
    const isSent = world.packet.inInterface === undefined;
    const destination = isSent ? (loopback as Address) : (own ?? (loopback as Address));
    const port = Number(option?.values[0] ?? world.packet.destinationPort);
    if (!Number.isInteger(port)) return { verdict: 'unknown', world };
    return { verdict: 'accept', world: toPlace(world, destination, port) };
  },
  MARK: (world, option) => ({ world: { ...world, mark: marked(world.mark, option) } }),
  // A first packet's connection has no mark yet.
  CONNMARK: (world, option, _, others) => {
    if (option?.name !== '--restore-mark') return { world };
    const mask = others.find(({ name }) => name === '--nfmask')?.values[0] ?? 0xffffffff;
    return { world: { ...world, mark: (world.mark & ~Number(mask)) >>> 0 } };
  },
  CT: (world, option) => (option?.name === '--notrack' ? { world: untracked(world) } : { world }),
  NOTRACK: (world) => ({ world: untracked(world) }),
});

/** What the rule's target does; `index` is the place of `-j` among its options. */
export function effectOf(
  target: string,
  rule: ParsedRule,
  index: number,
  world: World,
  node: WalkedNode,
): TargetEffect {
  const verdict = verdicts.get(target);
  if (verdict !== undefined) return { verdict, world };
  if (passing.has(target)) return { world };
  if (opaque.has(target)) return { verdict: 'unknown', world };
  const [option, ...others] = rule.options.slice(index + 1);
  return effects.get(target)?.(world, option, node, others);
}

function untracked(world: World): World {
  return { ...world, packet: { ...world.packet, state: 'UNTRACKED' } };
}

/** `10.1.1.1:80`, `[fd00::1]:80`, `10.1.1.1`; of a range nobody can tell which it is. */
function translate(world: World, to: string): TargetEffect {
  const [, v6, v4, port] = /^(?:\[([^\]]+)\]|([^:]+))?(?::(\d+))?$/.exec(to) ?? [];
  const bare = parseAddress(to);
  const host = v6 ?? v4;
  const destination = bare ?? (host === undefined ? world.packet.destination : parseAddress(host));
  if (
    destination === undefined ||
    (bare === undefined && host === undefined && port === undefined)
  ) {
    return { verdict: 'unknown', world };
  }
  const number =
    bare === undefined && port !== undefined ? Number(port) : world.packet.destinationPort;
  return { verdict: 'accept', world: toPlace(world, destination, number) };
}

function toPlace(world: World, destination: Address, destinationPort: number): World {
  return { ...world, packet: { ...world.packet, destination, destinationPort }, translated: true };
}

function marked(mark: number, option: Option | undefined): number {
  const { name, values } = option ?? { name: '', values: [] };
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
      throw new Error(`MARK without an operation: ${name}`);
  }
}
