import type { FlagValues } from '../config/flag-table.ts';
import { SwitchyardError, errorText } from '../error.ts';
import { parseDestination } from '../graph/journey.ts';
import type { Destination } from '../graph/journey.ts';
import { familyLabel, familyOf, parseAddress } from '../ip/address.ts';
import type { Address, Family } from '../ip/address.ts';
import { unknownInterface } from '../walk/packet.ts';
import type { WalkedNode, WalkingPacket } from '../walk/packet.ts';
import { parseTables } from '../walk/parse.ts';
import type { ParsedTables } from '../walk/parse.ts';
import { isOwn } from '../walk/match.ts';
import { walk } from '../walk/traverse.ts';
import { casesOf } from '../walk/walked.ts';
import type { CommandIo } from './command.ts';
import { readDump } from './diff/dump-file.ts';
import { readTextFile } from './text-file.ts';
import { walkJson, walkText } from './walk-text.ts';

/** Documentation prefixes: somebody outside. */
const outside = { ipv4: '203.0.113.1', ipv6: '2001:db8::1' } as const;
const anyPort = 40_000;

/** Where saved rules, of whatever machine and whoever wrote them, send a packet. */
export async function explainDump(
  [from, to]: readonly [string, string],
  flags: FlagValues,
  io: CommandIo,
): Promise<string> {
  const path = flags.text('dump');
  const destination = parseDestination(to);
  const dump = readDump(
    await readTextFile('dump', path, io),
    `--dump=${path}`,
    flags.text('ipFamily'),
  );
  const tables = parsed(dump.text, path);
  const node: WalkedNode = {
    localAddresses: nodeAddresses(flags, dump.family),
    sets: new Map(),
    hasOtherSets: true,
  };
  const packet = packetOf(from, destination, { tables, node, family: dump.family, flags });
  const outcomes = walk(tables, node, packet, { unknown: 'both', trace: true });
  const walked = {
    packet,
    dump: path === '-' ? 'the standard input' : path,
    granted: grantedOf(packet, node),
    missing: missingOf(dump.text),
    cases: casesOf(outcomes),
  };
  return flags.text('output') === 'json' ? walkJson(walked) : walkText(walked);
}

function parsed(text: string, path: string): ParsedTables {
  try {
    return parseTables(text);
  } catch (cause) {
    throw new SwitchyardError('usage', `--dump=${path}: ${errorText(cause)}`, {
      cause,
      hint: 'expected what iptables-save or ip6tables-save prints',
    });
  }
}

function nodeAddresses(flags: FlagValues, family: Family): readonly Address[] {
  return flags.list('nodeAddress').flatMap((text) => {
    const address = parseAddress(text);
    if (address === undefined) {
      throw new SwitchyardError(
        'usage',
        `--node-address: ${JSON.stringify(text)} is no IP address`,
      );
    }
    return familyOf(address) === family ? [address] : [];
  });
}

interface Asked {
  readonly tables: ParsedTables;
  readonly node: WalkedNode;
  readonly family: Family;
  readonly flags: FlagValues;
}

function packetOf(from: string, destination: Destination, asked: Asked): WalkingPacket {
  const { node, family, flags } = asked;
  const source = sourceOf(from, asked);
  const { address, port, protocol } = placeOf(destination, asked);
  for (const each of [source, address]) {
    if (familyOf(each) === family) continue;
    throw new SwitchyardError(
      'usage',
      `${each} is no ${familyLabel(family)} address, and the dump is of ${familyLabel(family)}`,
      {
        hint: family === 'ipv4' ? 'make one by ip6tables-save' : 'make one by iptables-save',
      },
    );
  }
  const named = flags.text('inInterface') || unknownInterface;
  return {
    protocol,
    source,
    sourcePort: anyPort,
    destination: address,
    destinationPort: port,
    inInterface: isOwn(source, node) ? undefined : named,
    outInterface: unknownInterface,
    state: 'NEW',
  };
}

function sourceOf(from: string, { node, family }: Asked): Address {
  const address = parseAddress(from);
  if (address !== undefined) return address;
  if (from === 'outside') return outside[family] as Address;
  if (from === 'node') return ownAddress(node);
  throw new SwitchyardError('usage', `${JSON.stringify(from)} is not a source for a dump`, {
    hint: 'expected an IP address (of a pod: its own), outside, or node with --node-address',
  });
}

function ownAddress({ localAddresses: [own] }: WalkedNode): Address {
  if (own !== undefined) return own;
  throw new SwitchyardError('usage', 'a dump does not tell the address of its node', {
    hint: 'add --node-address=IP',
  });
}

interface Place {
  readonly address: Address;
  readonly port: number;
  readonly protocol: WalkingPacket['protocol'];
}

function placeOf(destination: Destination, asked: Asked): Place {
  const { to, port, protocol } = destination;
  const address = to === 'node' ? ownAddress(asked.node) : parseAddress(to);
  const number = Number(port);
  if (address === undefined) return serviceOf(destination, asked.tables);
  if (!Number.isInteger(number) || number < 1 || number > 65_535) {
    throw new SwitchyardError('usage', `port ${JSON.stringify(port)}: expected 1 to 65535`);
  }
  return { address, port: number, protocol: lower(protocol ?? 'TCP') };
}

/** A Service is known by the comments that kube-proxy and Switchyard write: `default/web:http cluster IP`. */
function serviceOf({ to, port, protocol }: Destination, tables: ParsedTables): Place {
  const service = to.includes('/') ? to : `default/${to}`;
  const rules = [...(tables.get('nat')?.values() ?? [])].flatMap((chain) => chain.rules);
  for (const { text } of rules) {
    const at = clusterPlace(text);
    if (at === undefined || at.name.split(':', 1)[0] !== service) continue;
    const isPort = String(at.port) === port || at.name === `${service}:${port}`;
    if (isPort && (protocol === undefined || at.protocol === lower(protocol))) return at;
  }
  const what = `no rule of the dump says that it is for ${service} port ${port}`;
  throw new SwitchyardError('usage', what, {
    hint: 'give the address and port instead: where there are many endpoints rules have no names',
  });
}

function clusterPlace(text: string): (Place & { readonly name: string }) | undefined {
  const name = /--comment "([^" ]+) cluster IP"/.exec(text)?.[1];
  if (name === undefined) return undefined;
  const address = parseAddress(/ -d ([^ /]+)/.exec(text)?.[1] ?? '');
  const port = Number(/ --dport (\d+)/.exec(text)?.[1]);
  const protocol = / -p (tcp|udp|sctp)/.exec(text)?.[1];
  if (address === undefined || !Number.isInteger(port) || protocol === undefined) return undefined;
  return { name, address, port, protocol: protocol as Place['protocol'] };
}

function lower(protocol: string): Place['protocol'] {
  return protocol.toLowerCase() as Place['protocol'];
}

/** What decides besides and is not in such a dump. */
function missingOf(text: string): readonly string[] {
  const hasIpvs = /\bKUBE-(?:6-)?(?:IPVS-|CLUSTER-IP\b)/.test(text);
  const hasOther = /^# Warning: iptables-legacy tables present/m.test(text);
  return [
    ...(hasIpvs
      ? [
          'these rules are of an ipvs mode: where its virtual servers lead is not in a dump (ipvsadm --save --numeric)',
        ]
      : []),
    ...(hasOther
      ? [
          'that machine has rules of legacy tools too, which this dump has not (iptables-legacy-save)',
        ]
      : []),
  ];
}

function grantedOf(
  { inInterface, source }: WalkingPacket,
  { localAddresses }: WalkedNode,
): readonly string[] {
  const loopback = source.includes(':') ? '::1' : '127.0.0.0/8';
  const own = [loopback, ...localAddresses].join(', ');
  return [
    'it is the first packet of a connection of a client that has not been here before',
    `the node's own addresses are ${own}${localAddresses.length === 0 ? ' alone (more by --node-address)' : ''}`,
    ...(inInterface === unknownInterface
      ? ['the interface it arrives on is not known (--in-interface names it)']
      : []),
  ];
}
