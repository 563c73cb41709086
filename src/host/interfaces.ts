import { networkInterfaces } from 'node:os';
import { SwitchyardError } from '../error.ts';
import { familyOf, parseAddress } from '../ip/address.ts';
import type { Address, Family } from '../ip/address.ts';
import type { ToolRunner } from './run-tool.ts';

/** One link of the machine with its addresses of both families. */
export interface NetworkInterface {
  readonly name: string;
  readonly up: boolean;
  readonly addresses: readonly Address[];
}

/**
 * All interfaces, also those that are down (node:os leaves them out, but the kernel treats their
 * addresses as local all the same). Sorted by name.
 */
export async function listInterfaces(
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<readonly NetworkInterface[]> {
  const { exitCode, stdout, stderr } = await tools.run('ip', ['-j', 'address', 'show'], {
    timeoutMs: 10_000,
    signal,
  });
  if (exitCode !== 0) {
    throw new SwitchyardError('tool', `ip -j address show failed: ${stderr.trim()}`, {
      retryable: true,
    });
  }
  return parseInterfaces(stdout);
}

/** The dummy link whose addresses make the node take packets to Services for its own; as kube-proxy names it. It is down. */
export const serviceLink = 'kube-ipvs0';

/** All addresses of the node itself: those of Services are the kernel's own too, but never the node's. */
export function ownAddresses(interfaces: readonly NetworkInterface[]): readonly Address[] {
  return interfaces.flatMap(({ name, addresses }) => (name === serviceLink ? [] : addresses));
}

/** The addresses of interfaces that are up, as the C library tells them: no tool is needed. */
export function upAddresses(): readonly Address[] {
  return Object.entries(networkInterfaces())
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, each = []]) => each.flatMap(({ address }) => parseAddress(address) ?? []));
}

/** Local addresses of a family over all interfaces, sorted, each once. */
export function localAddresses(
  interfaces: readonly NetworkInterface[],
  family: Family,
): readonly Address[] {
  const all = interfaces.flatMap((link) => link.addresses);
  return [...new Set(all.filter((address) => familyOf(address) === family))].toSorted();
}

/** Reads the output of `ip -j address show`; throws where it is no list: no address is not the same. */
export function parseInterfaces(json: string): readonly NetworkInterface[] {
  return linksOf(json)
    .flatMap((link: unknown) => (isLink(link) ? [toInterface(link)] : []))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** An address with its prefix length, as a link has it. */
export interface LinkAddress {
  readonly address: Address;
  readonly length: number;
}

/** The addresses of one link, from the same output; undefined where there is no such link. */
export function parseLinkAddresses(json: string, name: string): readonly LinkAddress[] | undefined {
  const link = linksOf(json).find((each): each is IpLink => isLink(each) && each.ifname === name);
  return link && addressesOf(link);
}

function linksOf(json: string): readonly unknown[] {
  if (json.trim() === '') return [];
  try {
    const links: unknown = JSON.parse(json);
    if (Array.isArray(links)) return links as readonly unknown[];
  } catch {
    // said below
  }
  const start = JSON.stringify(json.slice(0, 60));
  throw new SwitchyardError('tool', `ip -j address show: expected a list as JSON, got ${start}`, {
    retryable: true,
  });
}

interface IpLink {
  readonly ifname: string;
  readonly flags?: unknown;
  readonly addr_info?: unknown;
}

/** `ip -j` prints an empty object for what a filter hides. */
function isLink(value: unknown): value is IpLink {
  return (
    typeof value === 'object' &&
    value !== null &&
    'ifname' in value &&
    typeof value.ifname === 'string'
  );
}

function toInterface(link: IpLink): NetworkInterface {
  const addresses = addressesOf(link).map(({ address }) => address);
  const flags: readonly unknown[] = Array.isArray(link.flags) ? link.flags : [];
  return { name: link.ifname, up: flags.includes('UP'), addresses };
}

function addressesOf({ addr_info: list }: IpLink): readonly LinkAddress[] {
  const infos: readonly unknown[] = Array.isArray(list) ? list : [];
  return infos.flatMap((info) => {
    if (typeof info !== 'object' || info === null || !('local' in info)) return [];
    const address = typeof info.local === 'string' ? parseAddress(info.local) : undefined;
    if (address === undefined) return [];
    const isKnown = 'prefixlen' in info && typeof info.prefixlen === 'number';
    return [{ address, length: isKnown ? Number(info.prefixlen) : hostLength(address) }];
  });
}

/** The prefix length of an address by itself. */
export function hostLength(address: Address): number {
  return familyOf(address) === 'ipv4' ? 32 : 128;
}
