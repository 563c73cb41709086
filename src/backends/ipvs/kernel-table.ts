import { SwitchyardError } from '../../error.ts';
import { readSetting } from '../../host/sysctl.ts';
import { familyOf, formatAddress, parseAddress } from '../../ip/address.ts';
import type { Address, Family } from '../../ip/address.ts';
import type { Protocol } from '../../services/service-port.ts';
import { realServerKey, virtualServerKey } from './servers.ts';
import type { RealServer, RealServerKey, ServerPlace, VirtualServerKey } from './state.ts';

/** A real server in the kernel. */
export interface ObservedRealServer extends RealServer {
  /** Reached by NAT, as all of ours. */
  readonly isMasqueraded: boolean;
  /** Open ones and those that end. */
  readonly connections: number;
}

/** A virtual server in the kernel. */
export interface ObservedServer extends ServerPlace {
  readonly scheduler: string;
  /** In ticks of the kernel, whose length only the kernel knows (of a list: in seconds); undefined: no persistence. */
  readonly persistentTicks: number | undefined;
  readonly realServers: ReadonlyMap<RealServerKey, ObservedRealServer>;
}

export type ObservedServers = ReadonlyMap<VirtualServerKey, ObservedServer>;

/** The text of the kernel's table; undefined: there is none, because ip_vs is not loaded. */
export type TableReader = () => Promise<string | undefined>;

/**
 * The table of this network namespace, both families, without a tool: `ipvsadm --save` asks the kernel once for each
 * virtual server, and took ten times as long (2,000 of three real servers each: 20 s against 2 s in a virtual machine).
 */
export const readKernelTable: TableReader = async () => readSetting('/proc/net/ip_vs');

/** Tells servers apart by key: a set, or a map of them. */
export interface ServerKeys {
  has(key: VirtualServerKey): boolean;
}

/** How a text names places. */
type PlaceParser = (text: string | undefined) => Place | undefined;

interface Place {
  readonly address: Address;
  readonly port: number;
}

/** What the kernel has of a family, or of some servers of it. */
export async function readServers(
  family: Family,
  read: TableReader,
  only?: ServerKeys,
): Promise<ObservedServers> {
  const text = await read();
  return text === undefined ? new Map() : parseKernelTable(text, family, only);
}

/**
 * Reads /proc/net/ip_vs (Linux 6.1). Services by firewall mark are nobody's of ours and left out. It does not tell a
 * scheduler's flags, nor how long persistence lasts in seconds. Most of the time goes into real servers: those of other servers than
 * `only` are not looked at.
 *
 * Where other network namespaces of the machine have virtual servers too, the kernel leaves some of this one out: it hands the
 * table out a page at a time, and counts those of all namespaces when it goes on after a page.
 */
export function parseKernelTable(
  text: string,
  family: Family | 'both',
  only?: ServerKeys,
): ObservedServers {
  return parseTable(text, { family, only, source: '/proc/net/ip_vs', parsePlace: parseHexPlace });
}

/** Reads the same of `ipvsadm --list --numeric`, where times are seconds, and nothing is left out. */
export function parseServerList(
  text: string,
  family: Family | 'both',
  only?: ServerKeys,
): ObservedServers {
  return parseTable(text, { family, only, source: 'ipvsadm --list', parsePlace: parseTextPlace });
}

interface TableKind {
  readonly family: Family | 'both';
  readonly only: ServerKeys | undefined;
  readonly source: string;
  readonly parsePlace: PlaceParser;
}

function parseTable(
  text: string,
  { family, only, source, parsePlace }: TableKind,
): ObservedServers {
  if (!text.startsWith('IP Virtual Server version')) {
    const start = JSON.stringify(text.slice(0, 60));
    throw new SwitchyardError('tool', `${source}: expected the table of ipvs, got ${start}`, {
      retryable: true,
    });
  }
  const servers = new Map<VirtualServerKey, ObservedServer>();
  let realServers: Map<RealServerKey, ObservedRealServer> | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('  -> ')) {
      const real = realServers === undefined ? undefined : parseRealServer(line, parsePlace);
      if (real !== undefined) realServers?.set(realServerKey(real), real);
      continue;
    }
    const its = new Map<RealServerKey, ObservedRealServer>();
    const server = parseServer(line, its, parsePlace);
    const isWanted =
      server !== undefined && isOf(family, server) && only?.has(server.key) !== false;
    realServers = isWanted ? its : undefined;
    if (isWanted) servers.set(server.key, server);
  }
  return servers;
}

function isOf(family: Family | 'both', { address }: ServerPlace): boolean {
  return family === 'both' || familyOf(address) === family;
}

/** `TCP  0A600001:0050 rr  persistent 2700000 FFFFFFFF`, `TCP  [fd00:0000:…:0001]:0050 mh ` */
function parseServer(
  line: string,
  realServers: ReadonlyMap<RealServerKey, ObservedRealServer>,
  parsePlace: PlaceParser,
): ObservedServer | undefined {
  const [, protocol, place, scheduler, rest] =
    /^(TCP|UDP|SCTP)\s+(\S+) (\S+) ?(.*)$/.exec(line) ?? [];
  const at = parsePlace(place);
  if (protocol === undefined || scheduler === undefined || at === undefined) return undefined;
  const ticks = /\bpersistent (\d+)/.exec(rest ?? '')?.[1];
  return {
    key: virtualServerKey(protocol as Protocol, at.address, at.port),
    protocol: protocol as Protocol,
    ...at,
    scheduler,
    persistentTicks: ticks === undefined ? undefined : Number(ticks),
    realServers,
  };
}

/** `  -> 0AF40105:1F90      Masq    1      0          0         ` */
function parseRealServer(line: string, parsePlace: PlaceParser): ObservedRealServer | undefined {
  const [, place, forward, ...numbers] =
    /^ {2}-> (\S+)\s+(\S+)\s+(\d+)\s+(\d+)\s+(\d+)/.exec(line) ?? [];
  const at = parsePlace(place);
  if (at === undefined) return undefined;
  const [weight = 0, active = 0, inactive = 0] = numbers.map(Number);
  return { ...at, weight, isMasqueraded: forward === 'Masq', connections: active + inactive };
}

/** `0A600001:0050` or `[fd00:0000:0000:0000:0000:0000:0000:0001]:0050`, all of it in hex. */
function parseHexPlace(text = ''): Place | undefined {
  const [, v6, v4, port] = /^(?:\[([\da-f:]+)\]|([\dA-F]{8})):([\dA-F]{4})$/.exec(text) ?? [];
  const address = v4 === undefined ? parseAddress(v6 ?? '') : formatAddress(Buffer.from(v4, 'hex'));
  if (address === undefined || port === undefined) return undefined;
  return { address, port: Number.parseInt(port, 16) };
}

/** `10.96.0.1:80` or `[fd00::1]:80` */
export function parseTextPlace(text = ''): Place | undefined {
  const [, v6, v4, port] = /^(?:\[([\da-f:.]+)\]|([\d.]+)):(\d+)$/.exec(text) ?? [];
  const address = parseAddress(v6 ?? v4 ?? '');
  return address === undefined ? undefined : { address, port: Number(port) };
}
