import { parseAddress } from '../../../src/ip/address.ts';
import type { Address } from '../../../src/ip/address.ts';
import { parseCidr } from '../../../src/ip/cidr.ts';
import type { Cidr } from '../../../src/ip/cidr.ts';
import { parseTables } from '../../../src/walk/parse.ts';
import type { ParsedTables } from '../../../src/walk/parse.ts';

export interface ParsedEndpoint {
  readonly address: Address;
  readonly port: number;
  readonly weight: number;
}

/** The first one whose sources hold the client counts. */
export interface ParsedRoute {
  readonly sources: readonly Cidr[] | undefined;
  /** What is said of the pool: `in turns, drained for 300 s`; `refused` where there is none. */
  readonly how: string;
  readonly endpoints: ParsedEndpoint[];
}

export interface ParsedListener {
  readonly protocol: string;
  readonly address: Address;
  readonly port: number;
  readonly key: string;
  readonly routes: ParsedRoute[];
}

/** A rendered text of the userspace mode, read on its own: nothing of the program's is asked. */
export interface ParsedUserspace {
  readonly listeners: readonly ParsedListener[];
  readonly sets: ReadonlyMap<string, ReadonlySet<string>>;
  readonly tables: ParsedTables;
}

/** Reads a rendered text. Anything unknown throws. */
export function parseUserspace(text: string): ParsedUserspace {
  const sections = new Map(
    text
      .split(/^## /m)
      .slice(1)
      .map((section): [string, readonly string[]] => {
        const [title = '', ...lines] = section.split('\n');
        return [title.replace(/:.*/, ''), lines.filter((line) => !/^(?:#|\s*$)/.test(line))];
      }),
  );
  for (const name of sections.keys())
    if (!['places', 'listeners', 'sets', 'rules'].includes(name))
      throw new Error(`unknown section ${name}`);
  return {
    listeners: readListeners(sections.get('listeners') ?? []),
    sets: readSets(sections.get('sets') ?? []),
    tables: parseTables((sections.get('rules') ?? []).join('\n')),
  };
}

function readListeners(lines: readonly string[]): readonly ParsedListener[] {
  const listeners: ParsedListener[] = [];
  for (const line of lines) {
    const listener = readListener(line);
    const last = listeners.at(-1);
    if (listener) listeners.push(listener);
    else if (last) readPart(line, last);
    else throw new Error(`a line before all listeners: ${line}`);
  }
  return listeners;
}

function readListener(line: string): ParsedListener | undefined {
  const [, protocol, at = '', key = ''] =
    /^listen (TCP|UDP) (\S+)(?: \(or \d+\))? for (.+)$/.exec(line) ?? [];
  return protocol === undefined ? undefined : { protocol, ...place(at), key, routes: [] };
}

/** A route, or an endpoint of the last one. */
function readPart(line: string, { routes }: ParsedListener): void {
  const [, from, how = ''] = /^ {2}from (\S+): (.+)$/.exec(line) ?? [];
  if (from !== undefined) {
    const sources = from === 'anywhere' ? undefined : from.split(',').map(prefix);
    routes.push({ sources, how, endpoints: [] });
    return;
  }
  const [, endpoint, weight] = /^ {4}(\S+) weight (\d+)$/.exec(line) ?? [];
  if (endpoint === undefined) throw new Error(`unknown line ${line}`);
  routes.at(-1)?.endpoints.push({ ...place(endpoint), weight: Number(weight) });
}

function readSets(lines: readonly string[]): ReadonlyMap<string, ReadonlySet<string>> {
  const sets = new Map<string, Set<string>>();
  for (const line of lines) {
    const [command, name = '', member = ''] = line.split(' ');
    if (command === 'create') sets.set(name, new Set());
    else if (command === 'add' && sets.has(name)) sets.get(name)?.add(member);
    else throw new Error(`unknown line ${line}`);
  }
  return sets;
}

function place(text: string): { readonly address: Address; readonly port: number } {
  const [, host = '', port = ''] = /^\[?([^\]]*?)\]?:(\d+)$/.exec(text) ?? [];
  const address = parseAddress(host);
  if (address === undefined) throw new Error(`no place: ${text}`);
  return { address, port: Number(port) };
}

function prefix(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new Error(`no prefix: ${text}`);
  return cidr;
}
