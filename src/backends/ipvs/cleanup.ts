import { SwitchyardError } from '../../error.ts';
import { serviceLink } from '../../host/interfaces.ts';
import { toolCure } from '../../host/run-tool.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import { familyLabel } from '../../ip/address.ts';
import type { Address, Family } from '../../ip/address.ts';
import type { Cidr } from '../../ip/cidr.ts';
import { unremoved } from '../cleanup.ts';
import type { CleanupPlan, CleanupScope, Kept, ModeCleanup } from '../cleanup.ts';
import { boundPrefixes, changeDevice, readDeviceIfAny, sortedPrefixes } from './device.ts';
import type { BoundAddresses } from './device.ts';
import { isInAny } from './excluded.ts';
import { serverName } from './ipvsadm-text.ts';
import { parseKernelTable, readKernelTable } from './kernel-table.ts';
import type { ObservedServer, TableReader } from './kernel-table.ts';
import { listServers } from './list-servers.ts';
import { Ownership, isUpstreamNaming, readMembers } from './ownership.ts';
import type { FoundMembers } from '../iptables/kept-sets.ts';

export interface IpvsCleanupParts {
  readonly tools: ToolRunner;
  readonly scope: CleanupScope;
  /** Virtual servers and addresses in these stay. */
  readonly excludeCidrs: readonly Cidr[];
  readonly readTable?: TableReader;
}

interface Found {
  /** What is to go from kube-ipvs0; undefined: there is no such link, or it stays as it is. */
  readonly device: BoundAddresses;
  /** With all that is on it. */
  readonly wholeDevice: boolean;
  readonly ours: readonly ObservedServer[];
  readonly keeps: readonly Kept[];
}

const excluded: Kept = {
  what: `virtual servers and addresses of ${serviceLink} in --ipvs-exclude-cidrs`,
  why: 'these are never touched',
  isObstacle: false,
};

const families = ['ipv4', 'ipv6'] as const;
const timeoutMs = 300_000;

/** So many servers that stay are named; the others are counted. */
const mostNamed = 5;

/**
 * Removes kube-ipvs0 and the virtual servers of Switchyard and of kube-proxy's ipvs mode. Their rules and sets go
 * with those of the iptables mode, later: the sets tell which servers are ours. Loads no module to look.
 */
export class IpvsCleanup implements ModeCleanup {
  readonly #parts: IpvsCleanupParts;

  constructor(parts: IpvsCleanupParts) {
    this.#parts = parts;
  }

  async look(signal: AbortSignal): Promise<CleanupPlan> {
    const { device, wholeDevice, ours, keeps } = await this.#find(signal);
    const removes: string[] = [];
    if (device !== undefined) {
      const addresses = counted(device.size, 'address', 'addresses');
      removes.push(
        wholeDevice ? `${serviceLink} with ${addresses}` : `${addresses} of ${serviceLink}`,
      );
    }
    for (const family of families) {
      const count = ours.filter((server) => isOf(family, server)).length;
      if (count > 0)
        removes.push(`ipvs (${familyLabel(family)}): ${counted(count, 'virtual server')}`);
    }
    return { mode: 'ipvs', removes, keeps };
  }

  async remove(signal: AbortSignal): Promise<readonly string[]> {
    const { tools } = this.#parts;
    const { device, wholeDevice, ours } = await this.#find(signal);
    const failures: string[] = [];
    const run = async (tool: string, args: readonly string[], input: string): Promise<void> => {
      const { exitCode, stderr } = await tools.run(tool, args, { input, timeoutMs, signal });
      const words = stderr.trim();
      if (exitCode !== 0 || words !== '') failures.push(`${tool} ${args.join(' ')}: ${words}`);
    };
    // First: an address without its virtual servers would lead to the node's own sockets.
    if (device !== undefined && wholeDevice) await run('ip', ['link', 'delete', serviceLink], '');
    else failures.push(...(await this.#unbind(device, signal)));
    if (ours.length > 0) {
      const lines = ours.map((server) => `-D ${serverName(server)}\n`);
      await run('ipvsadm', ['--restore'], lines.join(''));
    }
    return unremoved(await this.look(signal), failures);
  }

  async #find(signal: AbortSignal): Promise<Found> {
    const { scope, readTable = readKernelTable } = this.#parts;
    const keeps: Kept[] = [];
    const text = await readTable();
    const bound = await readDeviceIfAny('both', this.#parts.tools, signal, ({ message }) => {
      const why = `it cannot be looked at: ${message}; ${toolCure('ip')}`;
      keeps.push({ what: `${serviceLink}, if it is there`, why, isObstacle: false });
    });
    const all = text === undefined ? [] : await this.#servers(text, signal);
    const nothing = { device: undefined, wholeDevice: false, ours: [], keeps };
    if (bound === undefined && all.length === 0) return nothing;
    const sets = await this.#members(keeps, signal);
    if (scope === 'leftovers' && [...sets.keys()].some(isUpstreamNaming)) {
      const why = 'kube-proxy’s ipvs mode has taken them over: its sets are there';
      keeps.push({ what: `${serviceLink} and its virtual servers`, why, isObstacle: false });
      return nothing;
    }
    const ownership = new Ownership(sets, bound?.keys() ?? []);
    keeps.push(...foreign(all.filter((server) => !ownership.isOurs(server))));
    return this.#withoutExcluded(
      bound,
      all.filter((server) => ownership.isOurs(server)),
      keeps,
    );
  }

  #withoutExcluded(
    bound: BoundAddresses,
    made: readonly ObservedServer[],
    keeps: readonly Kept[],
  ): Found {
    const ours = made.filter(({ address }) => !this.#isExcluded(address));
    const some = bound && new Map([...bound].filter(([address]) => !this.#isExcluded(address)));
    const wholeDevice = some?.size === bound?.size;
    const isLess = !wholeDevice || ours.length < made.length;
    const device = wholeDevice || some?.size !== 0 ? some : undefined;
    return { device, wholeDevice, ours, keeps: isLess ? [...keeps, excluded] : keeps };
  }

  #isExcluded(address: Address): boolean {
    return isInAny(this.#parts.excludeCidrs, address);
  }

  /** Takes these from the link, which stays; what could not be done, in words. */
  async #unbind(device: BoundAddresses, signal: AbortSignal): Promise<readonly string[]> {
    const remove = sortedPrefixes(boundPrefixes(device));
    const changes = { create: false, add: [], remove };
    const refused = await changeDevice(changes, this.#parts.tools, signal);
    return refused.map(({ address, words }) => `removing ${address}: ${words}`);
  }

  /** By the tool: the kernel's table may leave some out, which would then stay for ever. */
  async #servers(text: string, signal: AbortSignal): Promise<readonly ObservedServer[]> {
    const shown = parseKernelTable(text, 'both');
    if (shown.size === 0) return [];
    try {
      return [...(await listServers('both', this.#parts.tools, signal)).values()];
    } catch (error) {
      if (!(error instanceof SwitchyardError) || error.code !== 'missing') throw error;
      return [...shown.values()]; // the removal will name the tool and its cure
    }
  }

  async #members(keeps: Kept[], signal: AbortSignal): Promise<FoundMembers> {
    try {
      return await readMembers('both', this.#parts.tools, signal);
    } catch (error) {
      if (!(error instanceof SwitchyardError) || error.code !== 'missing') throw error;
      const why = `which are ours stands in ipsets: ${error.message}; ${toolCure('ipset')}`;
      keeps.push({ what: `virtual servers that are not on ${serviceLink}`, why, isObstacle: true });
      return new Map();
    }
  }
}

function isOf(family: Family, { address }: ObservedServer): boolean {
  return address.includes(':') === (family === 'ipv6');
}

function foreign(servers: readonly ObservedServer[]): readonly Kept[] {
  if (servers.length === 0) return [];
  const shown = servers.slice(0, mostNamed).map(({ key }) => key);
  const more = servers.length - shown.length;
  const what = `virtual servers ${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
  const why = `neither on ${serviceLink} nor in a set of Switchyard or kube-proxy: somebody else’s`;
  return [{ what, why, isObstacle: false }];
}

function counted(count: number, what: string, many = `${what}s`): string {
  return `${count} ${count === 1 ? what : many}`;
}
