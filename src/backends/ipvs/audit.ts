import { hostLength, serviceLink } from '../../host/interfaces.ts';
import type { Address } from '../../ip/address.ts';
import { boundPrefixes, prefixText } from './device.ts';
import type { BoundAddresses } from './device.ts';
import type { KernelServer } from './diff.ts';
import type { ObservedServer, ObservedServers } from './kernel-table.ts';
import { isScheduledAs } from './server-table.ts';
import type { VirtualServerKey } from './state.ts';

/** Why the virtual servers are no longer what was written last, or undefined while they are. */
export function serversReason(
  written: ReadonlyMap<VirtualServerKey, KernelServer>,
  observed: ObservedServers,
  isOurs: (server: ObservedServer) => boolean,
): string | undefined {
  for (const [key, server] of written) {
    const found = observed.get(key);
    if (found === undefined) return `virtual server ${key} is gone`;
    const reason = serverReason(server, found);
    if (reason !== undefined) return reason;
  }
  for (const [key, server] of observed) {
    if (!written.has(key) && isOurs(server))
      return `a second writer: virtual server ${key} is at an address of ${serviceLink} and not ours`;
  }
  return undefined;
}

function serverReason(server: KernelServer, found: ObservedServer): string | undefined {
  const { key, wanted } = server;
  if (wanted !== undefined && !isScheduledAs(found, wanted)) {
    const kept = found.persistentTicks === undefined ? 'not persistent' : 'persistent';
    return `virtual server ${key} is ${found.scheduler}, ${kept}, expected ${server.args}`;
  }
  for (const [real, { weight }] of server.realServers) {
    const there = found.realServers.get(real);
    if (there === undefined) return `real server ${real} of ${key} is gone`;
    if (there.weight !== weight || !there.isMasqueraded)
      return `real server ${real} of ${key} has weight ${there.weight}, expected ${weight}`;
  }
  for (const real of found.realServers.keys()) {
    if (!server.realServers.has(real)) return `real server ${real} of ${key} is not ours`;
  }
  return undefined;
}

/** Why the addresses of kube-ipvs0 are no longer what was written last. */
export function addressesReason(
  written: ReadonlySet<Address>,
  bound: BoundAddresses,
  isExcluded: (address: Address) => boolean,
): string | undefined {
  if (bound === undefined) return written.size === 0 ? undefined : `${serviceLink} is gone`;
  for (const address of written)
    if (!bound.has(address)) return `${address} is gone from ${serviceLink}`;
  for (const each of boundPrefixes(bound)) {
    const { address, length } = each;
    if (isExcluded(address)) continue;
    if (!written.has(address)) return `${address} on ${serviceLink} is not ours`;
    if (length !== hostLength(address)) return `${prefixText(each)} on ${serviceLink} is not ours`;
  }
  return undefined;
}
