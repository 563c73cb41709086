import { ipvsSections } from '../../../src/backends/ipvs/render.ts';
import type { IpvsSection } from '../../../src/backends/ipvs/render.ts';
import { parseAddress } from '../../../src/ip/address.ts';
import type { Address } from '../../../src/ip/address.ts';
import { parseTables } from '../../../src/walk/parse.ts';
import type { ParsedTables } from '../../../src/walk/parse.ts';

/** A real server as `ipvsadm --restore` takes it. */
export interface ParsedRealServer {
  readonly address: Address;
  readonly port: number;
  readonly weight: number;
}

/** A virtual server as `ipvsadm --restore` takes it. */
export interface ParsedServer {
  readonly scheduler: string;
  readonly persistentSeconds: number | undefined;
  readonly real: readonly ParsedRealServer[];
}

/** What the tools of a rendered text would make of it, on a node without rules. */
export interface ParsedIpvs {
  readonly rules: ParsedTables;
  readonly sets: ReadonlyMap<string, ReadonlySet<string>>;
  /** By `tcp 10.96.0.10:80`. */
  readonly servers: ReadonlyMap<string, ParsedServer>;
  /** Of kube-ipvs0. */
  readonly addresses: readonly Address[];
}

/** Reads rendered text, section by section. What its tools would refuse throws. */
export function parseIpvs(text: string): ParsedIpvs {
  const sections = splitSections(text);
  const sets = parseSets(sections.sets);
  for (const [, name = ''] of sections.rules.join('\n').matchAll(/--match-set (\S+)/g)) {
    if (!sets.has(name)) throw new Error(`a rule looks into the set ${name}, which is not there`);
  }
  return {
    sets,
    rules: parseTables(sections.rules.join('\n')),
    servers: parseServers(sections['virtual servers']),
    addresses: parseAddresses(sections.addresses),
  };
}

function splitSections(text: string): Readonly<Record<IpvsSection, readonly string[]>> {
  const parts = text.split(/^## /m).slice(1);
  const named = parts.map((part) => {
    const [heading = '', ...lines] = part.split('\n');
    const name = heading.split(': ')[0];
    return [name, lines.filter((line) => line !== '' && !line.startsWith('#'))] as const;
  });
  const names = named.map(([name]) => name).join();
  if (names !== ipvsSections.join()) throw new Error(`sections are ${names}`);
  return Object.fromEntries(named) as Record<IpvsSection, readonly string[]>;
}

function parseSets(lines: readonly string[]): ReadonlyMap<string, ReadonlySet<string>> {
  const sets = new Map<string, Set<string>>();
  for (const line of lines) {
    const [command, name = '', member = ''] = line.split(' ');
    const set = sets.get(name);
    if (name.length > 31) throw new Error(`a name of a set is too long: ${line}`);
    if (command === 'create' && set === undefined) sets.set(name, new Set());
    else if (command === 'add' && set !== undefined && !set.has(member)) set.add(member);
    else throw new Error(`ipset would refuse: ${line}`);
  }
  return sets;
}

const protocols: Readonly<Record<string, string>> = {
  '-t': 'tcp',
  '-u': 'udp',
  '--sctp-service': 'sctp',
};

function parseServers(lines: readonly string[]): ReadonlyMap<string, ParsedServer> {
  const servers = new Map<string, ParsedServer & { readonly real: ParsedRealServer[] }>();
  for (const line of lines) {
    const [command, protocol = '', where = '', ...rest] = line.split(' ');
    const key = `${protocols[protocol] ?? ''} ${where}`;
    const server = servers.get(key);
    if (command === '-A' && server === undefined) {
      const options = optionsOf(rest, line);
      const seconds = options.get('-p');
      servers.set(key, {
        scheduler: options.get('-s') ?? 'wlc',
        persistentSeconds: seconds === undefined ? undefined : Number(seconds),
        real: [],
      });
    } else if (command === '-a' && server !== undefined) {
      server.real.push(realServer(optionsOf(rest, line), line));
    } else throw new Error(`ipvsadm would refuse: ${line}`);
  }
  const empty = [...servers].find(([, { real }]) => real.length === 0);
  if (empty !== undefined) throw new Error(`the virtual server ${empty[0]} has no real server`);
  return servers;
}

/** Option and value, but for `-m`, which has none. */
function optionsOf(words: readonly string[], line: string): ReadonlyMap<string, string> {
  const options = new Map<string, string>();
  for (let i = 0; i < words.length;) {
    const name = words[i++] ?? '';
    if (!['-s', '-p', '-b', '-r', '-m', '-w'].includes(name)) throw new Error(`no option: ${line}`);
    options.set(name, name === '-m' ? '' : (words[i++] ?? ''));
  }
  return options;
}

function realServer(options: ReadonlyMap<string, string>, line: string): ParsedRealServer {
  const [, host = '', port = ''] = /^\[?([^\]]*?)\]?:(\d+)$/.exec(options.get('-r') ?? '') ?? [];
  const address = parseAddress(host);
  if (address === undefined || !options.has('-m')) throw new Error(`no real server: ${line}`);
  return { address, port: Number(port), weight: Number(options.get('-w')) };
}

function parseAddresses(lines: readonly string[]): readonly Address[] {
  const [link, ...rest] = lines;
  if (link !== 'link add kube-ipvs0 type dummy') throw new Error(`no interface is made: ${link}`);
  return rest.map((line) => {
    const [, text = '', length] = /^address add (\S+)\/(\d+) dev kube-ipvs0$/.exec(line) ?? [];
    const address = parseAddress(text);
    if (address === undefined || length !== (text.includes(':') ? '128' : '32')) {
      throw new Error(`ip would refuse: ${line}`);
    }
    return address;
  });
}
