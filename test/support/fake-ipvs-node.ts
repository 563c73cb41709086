import { addressBytes, familyOf, parseAddress } from '../../src/ip/address.ts';
import type { Address } from '../../src/ip/address.ts';
import { FakeToolRunner } from './fake-tool-runner.ts';
import type { Answer, RecordedRun } from './fake-tool-runner.ts';

interface FakeRealServer {
  weight: number;
  connections: number;
}

interface FakeServer {
  scheduler: string;
  /** Seconds. */
  persistent: number | undefined;
  /** Of the scheduler; what was made without ipvsadm has none. */
  flags?: string | undefined;
  readonly realServers: Map<string, FakeRealServer>;
}

interface FakeSet {
  readonly create: string;
  readonly members: Set<string>;
}

/** Ticks a second of the kernel's clock. */
const ticks = 250;

/**
 * A node as the ipvs backend sees it: the tools do with their input what the real ones were seen to do (ipvsadm
 * 1.31, ipset 7.17, iproute2 6.1), above all where something is refused.
 */
export class FakeIpvsNode {
  /** By how ipvsadm names them: `-t 10.96.0.1:80`. */
  readonly servers = new Map<string, FakeServer>();
  readonly sets = new Map<string, FakeSet>();
  readonly tables = new Map<string, Map<string, string[]>>();
  /** Addresses of kube-ipvs0, those of other prefixes than single addresses with their lengths; undefined: there is no such link. */
  device: Set<string> | undefined;
  /** Words with which the kernel refuses a line of ipvsadm or ip, or those of its parser. */
  refuses: (line: string) => string | { readonly unread: string } | undefined = () => undefined;
  /** Instead of an answer, before anything is done. */
  fails: (run: RecordedRun) => Answer = () => undefined;
  /** Told after every line that a tool has done, and every table. */
  onStep: (tool: string, line: string) => void = () => {};
  /** Servers that the kernel's table leaves out, as it may where other network namespaces have some. */
  readonly leftOut = new Set<string>();
  /** Whether ip_vs is loaded: ipvsadm loads it. */
  isLoaded = false;
  readonly tools = new FakeToolRunner((run) => this.fails(run) ?? this.#answer(run));

  /** The text of /proc/net/ip_vs. */
  readonly readTable = async (): Promise<string | undefined> => {
    if (!this.isLoaded && this.servers.size === 0) return undefined;
    const shown = [...this.servers].filter(([name]) => !this.leftOut.has(name));
    return tableOf(shown, hexPlace, ticks);
  };

  /** The tools that ran since the last call, one after the other. */
  takeRuns(): readonly string[] {
    return this.tools.runs
      .splice(0)
      .map(({ tool, args }) => `${tool} ${args.join(' ')}`.replace(/ -w 5| --noflush| -j/g, ''));
  }

  /** What ipvsadm was given since the last call. */
  takeLines(): readonly string[] {
    const runs = this.tools.runs.splice(0).filter(({ tool }) => tool === 'ipvsadm');
    return runs.flatMap(({ input }) => input.trim().split('\n'));
  }

  /** The virtual servers in short: `-t 10.96.0.1:80 rr: 10.1.0.1:80=1`. */
  balancing(): readonly string[] {
    return [...this.servers].map(([name, { scheduler, persistent, realServers }]) => {
      const kept = persistent === undefined ? '' : ` ${persistent} s`;
      const list = [...realServers].map(([real, { weight }]) => `${real}=${weight}`);
      return `${name} ${scheduler}${kept}: ${list.toSorted().join(' ')}`.trimEnd();
    });
  }

  setConnections(server: string, real: string, connections: number): void {
    const found = this.servers.get(server)?.realServers.get(real);
    if (found === undefined) throw new Error(`no ${real} at ${server}`);
    found.connections = connections;
  }

  #answer({ tool, args, input }: RecordedRun): Answer {
    if (tool === 'ipvsadm' && args.includes('--list')) {
      this.isLoaded = true;
      return { stdout: tableOf(this.servers, (place) => place, 1) };
    }
    if (tool === 'ipvsadm') return this.#ipvsadm(input);
    if (tool === 'ipset') return this.#ipset(args, input);
    if (tool === 'ip') return this.#ip(args, input);
    if (tool.endsWith('-restore')) return this.#restore(input);
    if (tool.endsWith('-save'))
      return { stdout: this.save(args.includes('-t') ? (args.at(-1) ?? '') : '') };
    return undefined;
  }

  /** Goes on after what the kernel refuses, and ends with the status of the last line. */
  #ipvsadm(input: string): Answer {
    this.isLoaded = true;
    const complaints: string[] = [];
    let exitCode = 0;
    for (const line of input.split('\n').filter((text) => text !== '')) {
      const refused = this.refuses(line);
      if (typeof refused === 'object') {
        complaints.push(refused.unread);
        return { exitCode: 2, stderr: `${complaints.join('\n')}\n` };
      }
      const words = refused ?? this.#change(line);
      exitCode = words === undefined ? 0 : 255;
      if (words !== undefined) complaints.push(words);
      this.onStep('ipvsadm', line);
    }
    return { exitCode, stderr: complaints.map((words) => `${words}\n`).join('') };
  }

  #change(line: string): string | undefined {
    const words = line.split(' ');
    const option = (name: string): string | undefined => words[words.indexOf(name) + 1];
    const name = `${words[1]} ${words[2]}`;
    const command = words[0] ?? '';
    const persistent = words.includes('-p') ? Number(option('-p')) : undefined;
    const flags = words.includes('-b') ? option('-b') : undefined;
    const kind = { scheduler: option('-s') ?? '', persistent, flags };
    const server = this.servers.get(name);
    if (server === undefined) return this.#addServer(command, name, kind);
    if (command === '-A') return 'Service already exists';
    if (command === '-E') Object.assign(server, kind);
    if (command === '-D') this.servers.delete(name);
    return this.#changeReal(command, server, option('-r') ?? '', option('-w'));
  }

  #addServer(
    command: string,
    name: string,
    kind: Omit<FakeServer, 'realServers'>,
  ): string | undefined {
    if (command !== '-A') return command === '-a' ? 'Service not defined' : 'No such service';
    this.servers.set(name, { ...kind, realServers: new Map() });
    return undefined;
  }

  #changeReal(
    command: string,
    { realServers }: FakeServer,
    real: string,
    weight: string | undefined,
  ): string | undefined {
    const found = realServers.get(real);
    if (command === '-a' && found) return 'Destination already exists';
    if (/^-[ed]$/.test(command) && !found) return 'No such destination';
    if (command === '-a') realServers.set(real, { weight: Number(weight), connections: 0 });
    if (command === '-e' && found) found.weight = Number(weight);
    if (command === '-d') realServers.delete(real);
    return undefined;
  }

  #ipset(args: readonly string[], input: string): Answer {
    if (args[0] === 'restore') {
      for (const line of input.replaceAll(' -exist', '').split('\n')) {
        this.#changeSet(line);
        this.onStep('ipset', line);
      }
      return undefined;
    }
    const isTerse = args[0] === 'list';
    const texts = [...this.sets].map(([name, { create, members }]) => {
      const [type, ...header] = create.split(' ');
      return isTerse
        ? `Name: ${name}\nType: ${type}\nHeader: ${header.join(' ')} bucketsize 12\nReferences: 1\nNumber of entries: ${members.size}\n`
        : [
            `create ${name} ${create}`,
            ...[...members].map((each) => `add ${name} ${each}`),
            '',
          ].join('\n');
    });
    return { stdout: texts.join(isTerse ? '\n' : '') };
  }

  #changeSet(line: string): void {
    const [command, name = '', ...rest] = line.split(' ');
    const text = rest.join(' ');
    const found = this.sets.get(name);
    if (command === 'create')
      this.sets.set(name, found ?? { create: text, members: new Set<string>() });
    if (command === 'add') found?.members.add(text);
    if (command === 'del') found?.members.delete(text);
    if (command === 'destroy') this.sets.delete(name);
    if (command === 'swap') this.#swapSets(name, text);
  }

  #swapSets(one: string, other: string): void {
    const [first, second] = [this.sets.get(one), this.sets.get(other)];
    if (first === undefined || second === undefined) return;
    this.sets.set(one, second);
    this.sets.set(other, first);
  }

  /** Goes on after what the kernel refuses, and names the line. */
  #ip(args: readonly string[], input: string): Answer {
    if (args[0] === '-j') {
      if (this.device === undefined)
        return { exitCode: 1, stderr: 'Device "kube-ipvs0" does not exist.\n' };
      const infos = [...this.device].map((each) => infoOf(each));
      return { stdout: JSON.stringify([{ ifname: 'kube-ipvs0', flags: [], addr_info: infos }]) };
    }
    if (args[1] === 'delete') this.device = undefined;
    const complaints = input.split('\n').flatMap((line, i) => {
      const refused = line === '' ? undefined : this.refuses(line);
      const words = typeof refused === 'string' ? refused : this.#changeDevice(line);
      this.onStep('ip', line);
      return words === undefined
        ? []
        : [`RTNETLINK answers: ${words}\nCommand failed -:${i + 1}\n`];
    });
    return { exitCode: complaints.length === 0 ? 0 : 1, stderr: complaints.join('') };
  }

  #changeDevice(line: string): string | undefined {
    const address = line.split(' ')[2]?.replace(/\/(?:32|128)$/, '') ?? '';
    const exists = 'File exists';
    if (line.startsWith('link add')) {
      if (this.device) return exists;
      this.device = new Set();
    }
    if (line.startsWith('address add')) {
      if (this.device?.has(address) === true) return exists;
      this.device?.add(address);
    }
    const isMissing = line.startsWith('address del') && this.device?.delete(address) === false;
    return isMissing ? 'Cannot assign requested address' : undefined;
  }

  /** A table as a whole or not at all; a chain to which a rule leads is not deleted. */
  #restore(input: string): Answer {
    let name = '';
    let table = new Map<string, string[]>();
    for (const [i, line] of input.split('\n').entries()) {
      if (line.startsWith('*')) {
        name = line.slice(1);
        const there = this.tables.get(name) ?? builtIn.map((each) => [each, []] as const);
        table = new Map([...there].map(([each, rules]) => [each, [...rules]]));
      }
      if (!changeChain(table, line))
        return { exitCode: 1, stderr: `iptables-restore: line ${i + 1} failed\n` };
      if (line === 'COMMIT') {
        this.tables.set(name, table);
        this.onStep('iptables-restore', line);
      }
    }
    return undefined;
  }

  /** What iptables-save prints of a table, or of all. */
  save(table = ''): string {
    const dumps = [...this.tables.keys()].map((name) => {
      if (table !== '' && table !== name) return '';
      const chains = [...(this.tables.get(name) ?? [])];
      const heads = chains.map(
        ([chain]) => `:${chain} ${builtIn.includes(chain) ? 'ACCEPT' : '-'} [0:0]\n`,
      );
      const rules = chains.flatMap(([chain, list]) => list.map((rule) => `-A ${chain} ${rule}\n`));
      return `*${name}\n${heads.join('')}${rules.join('')}COMMIT\n`;
    });
    return dumps.join('');
  }
}

/** `10.96.0.1`, or `10.96.0.1/24`, as `ip -j` tells it. */
function infoOf(each: string): object {
  const [local = '', length] = each.split('/');
  const alone = local.includes(':') ? 128 : 32;
  return { local, prefixlen: length === undefined ? alone : Number(length) };
}

const builtIn = ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'];

/** Does a line of a restore file; false: it is refused. */
function changeChain(table: Map<string, string[]>, line: string): boolean {
  const [word = '', chain = ''] = line.split(' ');
  const rule = line.slice(word.length + chain.length + 2);
  if (word.startsWith(':')) table.set(word.slice(1), []);
  const rules = table.get(chain) ?? [];
  if (word === '-A') rules.push(rule);
  if (word === '-I') rules.unshift(rule.replace(/^\d+ /, ''));
  if (word === '-D') rules.splice(rules.indexOf(rule), 1);
  if (word !== '-X') return true;
  if ([...table.values()].flat().some((each) => each.endsWith(` ${chain}`))) return false;
  return table.delete(chain);
}

/** `10.96.0.1:80` as the kernel's table has it. */
function hexPlace(place: string): string {
  const at = place.lastIndexOf(':');
  const address = parseAddress(place.slice(0, at).replaceAll(/[[\]]/g, '')) as Address;
  const bytes = Buffer.from(addressBytes(address)).toString('hex');
  const port = Number(place.slice(at + 1))
    .toString(16)
    .toUpperCase()
    .padStart(4, '0');
  if (familyOf(address) === 'ipv4') return `${bytes.toUpperCase()}:${port}`;
  return `[${bytes.match(/.{4}/g)?.join(':')}]:${port}`;
}

/** A table of virtual servers, as the kernel and ipvsadm print it; they differ in how places and times are told. */
function tableOf(
  servers: Iterable<readonly [string, FakeServer]>,
  told: (place: string) => string,
  perSecond: number,
): string {
  const lines = [
    'IP Virtual Server version 1.2.1 (size=4096)',
    'Prot LocalAddress:Port Scheduler Flags',
    '  -> RemoteAddress:Port Forward Weight ActiveConn InActConn',
  ];
  for (const [name, { scheduler, persistent, realServers }] of servers) {
    const [flag, place = ''] = name.split(' ');
    const protocol = { '-t': 'TCP', '-u': 'UDP' }[flag ?? ''] ?? 'SCTP';
    const kept = persistent === undefined ? '' : ` persistent ${persistent * perSecond} FFFFFFFF`;
    const head = flag === '-f' ? 'FWM  00000007' : `${protocol}  ${told(place)}`;
    lines.push(`${head} ${scheduler} ${kept}`);
    for (const [real, { weight, connections }] of realServers)
      lines.push(
        `  -> ${told(real)}      Masq    ${weight}      ${connections}          0         `,
      );
  }
  return lines.join('\n');
}
