import { lookup } from 'node:dns/promises';
import { SwitchyardError } from '../../error.ts';
import {
  familyOf,
  isLinkLocal,
  isLoopback,
  isUnspecified,
  parseAddress,
} from '../../ip/address.ts';
import type { Address, Family } from '../../ip/address.ts';

/** What the choice is made from. */
export interface NodeIpInput {
  /** As the operator said; none: it is found out. `0.0.0.0` and `::` stand for the usual one of that family. */
  readonly configured: readonly Address[];
  readonly hostname: string;
  /** Addresses of the machine, by link. */
  readonly links: readonly { readonly name: string; readonly addresses: readonly Address[] }[];
  /** Links with a default route. */
  readonly uplinks: readonly string[];
  /** What the host name stands for, as the resolver has it. */
  readonly resolved: readonly Address[];
}

/**
 * The addresses of the node, one a family, the first family first: what the operator said, the host name where it is an address or
 * stands for one of this machine, or the address of the link with the default route.
 */
export function chooseNodeIps(input: NodeIpInput): readonly Address[] {
  const { configured, hostname, links } = input;
  const local = links.flatMap(({ addresses }) => addresses);
  if (configured.length > 0) return configured.map((ip) => configuredIp(ip, input, local));
  const named = parseAddress(hostname);
  if (named !== undefined && isUsable(named)) return [named];
  const resolved = input.resolved.find((ip) => isUsable(ip) && local.includes(ip));
  const found = resolved ?? usualIp(input, 'ipv4') ?? usualIp(input, 'ipv6');
  if (found !== undefined) return [found];
  throw new SwitchyardError(
    'missing',
    'this machine has no address that a node could be reached by: no link with a default route has one',
    { hint: '--node-ip=ADDRESS says which one to take' },
  );
}

/** Addresses of a host name; none where the resolver has none. */
export async function resolveHost(hostname: string): Promise<readonly Address[]> {
  try {
    const found = await lookup(hostname, { all: true });
    return found.flatMap(({ address }) => parseAddress(address) ?? []);
  } catch {
    return [];
  }
}

function configuredIp(ip: Address, input: NodeIpInput, local: readonly Address[]): Address {
  if (isUnspecified(ip)) {
    const usual = usualIp(input, familyOf(ip));
    if (usual !== undefined) return usual;
    const family = familyOf(ip);
    throw new SwitchyardError(
      'usage',
      `--node-ip=${ip}: no link with a default route has an address of ${family}`,
    );
  }
  if (local.includes(ip)) return ip;
  throw new SwitchyardError('usage', `--node-ip=${ip} is no address of this machine`, {
    hint: `it has ${local.filter(isUsable).join(', ') || 'none that can be used'}`,
  });
}

/** Links with a default route first. */
function usualIp({ links, uplinks }: NodeIpInput, family: Family): Address | undefined {
  const isUplink = ({ name }: { readonly name: string }): boolean => uplinks.includes(name);
  const sorted = [...links.filter(isUplink), ...links.filter((link) => !isUplink(link))];
  return sorted
    .flatMap(({ addresses }) => addresses)
    .find((ip) => familyOf(ip) === family && isUsable(ip));
}

function isUsable(ip: Address): boolean {
  return !isLoopback(ip) && !isUnspecified(ip) && !isLinkLocal(ip);
}
