import { SwitchyardError } from '../../error.ts';
import { serviceLink } from '../../host/interfaces.ts';
import { toolCure } from '../../host/run-tool.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import { familyLabel } from '../../ip/address.ts';
import type { Family } from '../../ip/address.ts';
import { unremoved } from '../cleanup.ts';
import type { CleanupPlan, CleanupScope, Kept, ModeCleanup } from '../cleanup.ts';
import { readDevice } from './device.ts';
import type { BoundAddresses } from './device.ts';
import { serverName } from './ipvsadm-text.ts';
import { parseKernelTable, readKernelTable } from './kernel-table.ts';
import type { ObservedServer, TableReader } from './kernel-table.ts';
import { listServers } from './list-servers.ts';
import { Ownership, isUpstreamNaming, readMembers } from './ownership.ts';
import type { FoundMembers } from '../iptables/kept-sets.ts';

export interface IpvsCleanupParts {
  readonly tools: ToolRunner;
  readonly scope: CleanupScope;
  readonly readTable?: TableReader;
}

interface Found {
  readonly device: Readonly<Record<Family, BoundAddresses>>;
  readonly hasDevice: boolean;
  readonly ours: readonly ObservedServer[];
  readonly keeps: readonly Kept[];
}

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
    const { device, hasDevice, ours, keeps } = await this.#find(signal);
    const removes: string[] = [];
    if (hasDevice) {
      const count = families.reduce((sum, family) => sum + (device[family]?.size ?? 0), 0);
      removes.push(`${serviceLink} with ${counted(count, 'address', 'addresses')}`);
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
    const { hasDevice, ours } = await this.#find(signal);
    const failures: string[] = [];
    const run = async (tool: string, args: readonly string[], input: string): Promise<void> => {
      const { exitCode, stderr } = await tools.run(tool, args, { input, timeoutMs, signal });
      const words = stderr.trim();
      if (exitCode !== 0 || words !== '') failures.push(`${tool} ${args.join(' ')}: ${words}`);
    };
    // First: an address without its virtual servers would lead to the node's own sockets.
    if (hasDevice) await run('ip', ['link', 'delete', serviceLink], '');
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
    const device = await this.#device(keeps, signal);
    const hasDevice = device.ipv4 !== undefined;
    const all = text === undefined ? [] : await this.#servers(text, signal);
    if (!hasDevice && all.length === 0) return { device, hasDevice, ours: [], keeps };
    const sets = await this.#members(keeps, signal);
    if (scope === 'leftovers' && [...sets.keys()].some(isUpstreamNaming)) {
      const why = 'kube-proxy’s ipvs mode has taken them over: its sets are there';
      keeps.push({ what: `${serviceLink} and its virtual servers`, why, isObstacle: false });
      return { device, hasDevice: false, ours: [], keeps };
    }
    const ownership = new Ownership(sets, [...(device.ipv4 ?? []), ...(device.ipv6 ?? [])]);
    keeps.push(...foreign(all.filter((server) => !ownership.isOurs(server))));
    return { device, hasDevice, ours: all.filter((server) => ownership.isOurs(server)), keeps };
  }

  /** Where `ip` is missing nothing of ours is there, as far as anybody can tell: it would have needed it. */
  async #device(keeps: Kept[], signal: AbortSignal): Promise<Found['device']> {
    const { tools } = this.#parts;
    try {
      const ipv4 = await readDevice('ipv4', tools, signal);
      return { ipv4, ipv6: ipv4 && (await readDevice('ipv6', tools, signal)) };
    } catch (error) {
      if (!(error instanceof SwitchyardError) || error.code !== 'missing') throw error;
      const why = `it cannot be looked at: ${error.message}; ${toolCure('ip')}`;
      keeps.push({ what: `${serviceLink}, if it is there`, why, isObstacle: false });
      return { ipv4: undefined, ipv6: undefined };
    }
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
