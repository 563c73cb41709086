import { SwitchyardError } from '../../error.ts';
import { serviceLink } from '../../host/interfaces.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import type { Family } from '../../ip/address.ts';
import type { Cidr } from '../../ip/cidr.ts';
import { listSets } from '../iptables/ipsets.ts';
import { isIpvsModeSet, isUpstreamIpvsSet } from '../iptables/ipvs-names.ts';
import type { SetName } from '../iptables/state.ts';
import {
  boundPrefixes,
  changeDevice,
  readDevice,
  readDeviceIfAny,
  sortedPrefixes,
} from './device.ts';
import type { BoundAddresses } from './device.ts';
import { isInAny } from './excluded.ts';
import { realServerArgs, serverName } from './ipvsadm-text.ts';
import { parseKernelTable, readKernelTable } from './kernel-table.ts';
import type { ObservedServer, ObservedServers, TableReader } from './kernel-table.ts';
import { listServers } from './list-servers.ts';
import { Ownership, readMembers } from './ownership.ts';

export interface IpvsRemainsParts {
  readonly family: Family;
  readonly tools: ToolRunner;
  /** Virtual servers and addresses in these stay, and are used on. */
  readonly excludeCidrs: readonly Cidr[];
  readonly readTable?: TableReader;
}

/** What an ipvs mode, Switchyard's or kube-proxy's, has left in the kernel. */
export interface FoundRemains {
  readonly servers: readonly ObservedServer[];
  readonly bound: BoundAddresses;
  /** The sets of what is bound. */
  readonly boundSets: readonly SetName[];
}

const leastTimeoutMs = 60_000;
const timeoutMsPerLine = 20;

/**
 * The virtual servers and addresses of an ipvs mode that ran on the node before, of one family: connections go
 * on through them, and then they go.
 */
export class IpvsRemains {
  readonly #parts: IpvsRemainsParts;
  #servers: readonly ObservedServer[] = [];

  constructor(parts: IpvsRemainsParts) {
    this.#parts = parts;
  }

  /** Looks; undefined where there is nothing. A link without addresses is something: the other family may need it still. */
  async find(signal: AbortSignal): Promise<FoundRemains | undefined> {
    const { family, tools } = this.#parts;
    const bound = this.#removable(await readDeviceIfAny(family, tools, signal));
    try {
      return await this.#findBeside(bound, signal);
    } catch (error) {
      // Virtual servers of others, such as a load balancer's on this node, must not call for tools that nobody needs.
      if (!isMissingTool(error) || (bound !== undefined && bound.size > 0)) throw error;
      return bound && { servers: [], bound, boundSets: [] };
    }
  }

  async #findBeside(bound: BoundAddresses, signal: AbortSignal): Promise<FoundRemains | undefined> {
    const { family, tools } = this.#parts;
    const all = await this.#read(signal);
    if (all.size === 0 && bound === undefined) return undefined;
    const [naming, sets] = await Promise.all([
      readMembers(family, tools, signal),
      listSets(tools, signal),
    ]);
    const ownership = new Ownership(naming, bound?.keys() ?? []);
    this.#servers = [...all.values()].filter(
      (server) => ownership.isOurs(server) && !isInAny(this.#parts.excludeCidrs, server.address),
    );
    if (this.#servers.length === 0 && bound === undefined) return undefined;
    const boundSets = sets.filter((set) => isBoundSet(family, set)).map(({ name }) => name);
    return { servers: this.#servers, bound, boundSets };
  }

  /** What is not excluded. A link on which nothing else is stays, and is nothing of ours. */
  #removable(bound: BoundAddresses): BoundAddresses {
    const { excludeCidrs } = this.#parts;
    if (bound === undefined) return undefined;
    const own = [...bound].filter(([address]) => !isInAny(excludeCidrs, address));
    return own.length === 0 && bound.size > 0 ? undefined : new Map(own);
  }

  /** Lets no new connection in: each real server gets weight 0. */
  async quiesce(signal: AbortSignal): Promise<void> {
    const lines = this.#servers.flatMap((server) =>
      [...server.realServers.values()]
        .filter(({ weight, isMasqueraded }) => weight !== 0 && isMasqueraded)
        .map((real) => `-e ${realServerArgs(server, { ...real, weight: 0 })}\n`),
    );
    await this.#ipvsadm(lines, signal);
  }

  /** How many connections there are still. */
  async connections(signal: AbortSignal): Promise<number> {
    const now = await this.#read(signal, this.#servers);
    let count = 0;
    for (const { key } of this.#servers) {
      for (const { connections } of now.get(key)?.realServers.values() ?? []) count += connections;
    }
    return count;
  }

  /**
   * Removes the virtual servers. What goes on talking to one that is gone is forgotten by connection tracking, too, as long as
   * its address is bound (expire_nodest_conn), and begins anew under the rules that are there now.
   */
  async removeServers(signal: AbortSignal): Promise<void> {
    const now = await this.#read(signal, this.#servers);
    const there = this.#servers.filter(({ key }) => now.has(key));
    const lines = there.map((server) => `-D ${serverName(server)}\n`);
    await this.#ipvsadm(lines, signal);
  }

  /**
   * Removes the addresses, and the link where nothing is left on it; whether nothing but what is excluded is left of both
   * families.
   */
  async removeAddresses(signal: AbortSignal): Promise<boolean> {
    const { family, tools, excludeCidrs } = this.#parts;
    const bound = await readDevice(family, tools, signal);
    if (bound === undefined) return true;
    const remove = sortedPrefixes(boundPrefixes(this.#removable(bound)));
    const [refused] = await changeDevice({ create: false, add: [], remove }, tools, signal);
    if (refused !== undefined) throw failed(`removing ${refused.address}`, refused.words);
    const rest = await readDevice('both', tools, signal);
    if (rest === undefined) return true;
    if (rest.size > 0) return [...rest.keys()].every((each) => isInAny(excludeCidrs, each));
    const args = ['link', 'delete', serviceLink];
    const { exitCode, stderr } = await tools.run('ip', args, { timeoutMs: leastTimeoutMs, signal });
    if (exitCode !== 0 && !/Cannot find device/.test(stderr)) throw failed(args.join(' '), stderr);
    return true;
  }

  /**
   * What is there, from the kernel's table where that shows all that is known, else from the tool: the table may leave some out.
   * The tool is not asked where that would load ip_vs.
   */
  async #read(signal: AbortSignal, known?: readonly ObservedServer[]): Promise<ObservedServers> {
    const { family, tools, readTable = readKernelTable } = this.#parts;
    const text = await readTable();
    if (text === undefined) return new Map();
    const shown = parseKernelTable(text, family);
    const isWhole = shown.size === 0 || known?.every(({ key }) => shown.has(key)) === true;
    return isWhole ? shown : listServers(family, tools, signal);
  }

  async #ipvsadm(lines: readonly string[], signal: AbortSignal): Promise<void> {
    if (lines.length === 0) return;
    const timeoutMs = leastTimeoutMs + timeoutMsPerLine * lines.length;
    const options = { input: lines.join(''), timeoutMs, signal };
    const { exitCode, stderr } = await this.#parts.tools.run('ipvsadm', ['--restore'], options);
    // what is gone meanwhile needs nothing any more
    const words = stderr.replaceAll(/^.*(?:No such|Service not defined).*$/gm, '').trim();
    if (words !== '' || (exitCode !== 0 && stderr.trim() === ''))
      throw failed('ipvsadm --restore', words);
  }
}

function isMissingTool(error: unknown): boolean {
  return error instanceof SwitchyardError && error.code === 'missing';
}

function isBoundSet(family: Family, { name, type }: { name: string; type: string }): boolean {
  if (type !== 'hash:ip' || name.startsWith('KUBE-6-') !== (family === 'ipv6')) return false;
  const isOurs = isIpvsModeSet(name) && /-IPVS-BOUND-\d+$/.test(name);
  return isOurs || (isUpstreamIpvsSet(name, type) && name.endsWith('-IPVS-IPS'));
}

function failed(what: string, words: string): SwitchyardError {
  const text = `${what} failed: ${words.trim()}`;
  return new SwitchyardError('tool', text, { retryable: true });
}
