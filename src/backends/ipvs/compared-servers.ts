import { hostLength, serviceLink } from '../../host/interfaces.ts';
import type { LinkAddress } from '../../host/interfaces.ts';
import { hostPort } from '../../ip/address.ts';
import type { Address } from '../../ip/address.ts';
import { plainLine } from '../compared.ts';
import type { ComparedLine, ComparedPart, ComparedSection } from '../compared.ts';
import type { DesiredBalancing } from '../desired.ts';
import type { FoundMembers } from '../iptables/kept-sets.ts';
import { boundPrefixes, prefixText } from './device.ts';
import type { BoundAddresses } from './device.ts';
import { isInAny } from './excluded.ts';
import { realServerArgs, serverName } from './ipvsadm-text.ts';
import type { ObservedRealServer, ObservedServer, ObservedServers } from './kernel-table.ts';
import { Ownership } from './ownership.ts';
import type { VirtualServer } from './state.ts';

/** What the kernel has for ipvs mode, of one family; servers as `ipvsadm --list` tells them. */
export interface FoundBalancing {
  readonly servers: ObservedServers;
  readonly bound: BoundAddresses;
  /** Those that name virtual servers. */
  readonly sets: FoundMembers;
}

/**
 * The virtual servers and addresses that are wanted beside those that are there. What drains (weight 0) does not count, nor do
 * virtual servers of others and flags of schedulers, which nothing shows.
 */
export function comparedBalancing(
  wanted: DesiredBalancing,
  found: FoundBalancing,
): readonly ComparedPart[] {
  return [servers(wanted, found), addresses(wanted, found.bound)];
}

function servers(
  wanted: DesiredBalancing,
  { servers: there, bound, sets }: FoundBalancing,
): ComparedPart {
  const ownership = new Ownership(sets, bound?.keys() ?? []);
  const others = [...there.values()].filter(
    (server) =>
      !wanted.servers.has(server.key) &&
      ownership.isOurs(server) &&
      !isExcluded(wanted, server.address) &&
      !isDraining(server),
  );
  const keys = new Set([...wanted.servers.keys(), ...others.map(({ key }) => key)]);
  const sections = [...keys].toSorted().map((key): ComparedSection => {
    const server = wanted.servers.get(key);
    const found = there.get(key);
    return {
      name: `virtual server ${key}`,
      wanted: server && wantedLines(server),
      found: found && foundLines(found, server),
    };
  });
  return { name: 'virtual servers', sections };
}

function wantedLines(server: VirtualServer): readonly ComparedLine[] {
  const { origin, realServers } = server;
  const reals = [...realServers.values()].map((real) => `-a ${realServerArgs(server, real)}`);
  return [wantedHead(server), ...reals.toSorted()].map((text) => ({ text, object: origin.name }));
}

function foundLines(
  found: ObservedServer,
  wanted: VirtualServer | undefined,
): readonly ComparedLine[] {
  const { scheduler, persistentTicks: seconds } = found;
  const isWanted = wanted?.scheduler === scheduler && wanted.persistentSeconds === seconds;
  const persistence = seconds === undefined ? '' : ` -p ${seconds}`;
  const head = isWanted
    ? wantedHead(wanted)
    : `-A ${serverName(found)} -s ${scheduler}${persistence}`;
  const reals = [...found.realServers]
    .filter(([key, { weight }]) => weight > 0 || wanted?.realServers.has(key) === true)
    .map(([, real]) => realLine(found, real));
  return [head, ...reals.toSorted()].map(plainLine);
}

function wantedHead(server: VirtualServer): string {
  const { scheduler, schedulerFlags, persistentSeconds } = server;
  const persistence = persistentSeconds === undefined ? '' : ` -p ${persistentSeconds}`;
  const flags = schedulerFlags.length === 0 ? '' : ` -b ${schedulerFlags.join(',')}`;
  return `-A ${serverName(server)} -s ${scheduler}${persistence}${flags}`;
}

function realLine(server: ObservedServer, real: ObservedRealServer): string {
  if (real.isMasqueraded) return `-a ${realServerArgs(server, real)}`;
  return `-a ${serverName(server)} -r ${hostPort(real.address, real.port)} (not -m) -w ${real.weight}`;
}

function isDraining({ realServers }: ObservedServer): boolean {
  return realServers.size > 0 && [...realServers.values()].every(({ weight }) => weight === 0);
}

function addresses(wanted: DesiredBalancing, bound: BoundAddresses): ComparedPart {
  const lines = [...wanted.addresses.values()].map(({ address, origin }) => ({
    text: addressLine({ address, length: hostLength(address) }),
    object: origin?.name,
  }));
  const found = boundPrefixes(bound)
    .filter(({ address }) => wanted.addresses.has(address) || !isExcluded(wanted, address))
    .map((each) => plainLine(addressLine(each)));
  const isNeeded = lines.length > 0 || found.length > 0;
  const section: ComparedSection = {
    name: `addresses of ${serviceLink}`,
    wanted: sorted(lines),
    found: bound === undefined && lines.length > 0 ? undefined : sorted(found),
  };
  return { name: 'addresses', sections: isNeeded ? [section] : [] };
}

function addressLine(each: LinkAddress): string {
  return `address add ${prefixText(each)} dev ${serviceLink}`;
}

function sorted(lines: readonly ComparedLine[]): readonly ComparedLine[] {
  return lines.toSorted((a, b) => (a.text < b.text ? -1 : 1));
}

function isExcluded({ excludeCidrs }: DesiredBalancing, address: Address): boolean {
  return isInAny(excludeCidrs, address);
}
