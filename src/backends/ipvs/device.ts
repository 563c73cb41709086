import { SwitchyardError } from '../../error.ts';
import { hostLength, parseLinkAddresses, serviceLink } from '../../host/interfaces.ts';
import type { LinkAddress } from '../../host/interfaces.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import { familyOf, isLinkLocal } from '../../ip/address.ts';
import type { Address, Family } from '../../ip/address.ts';

const timeoutMs = 60_000;

/**
 * What is on the link, of one family or both, with the lengths of its prefixes: other ones than those of single addresses
 * are somebody else's. Undefined: there is no such link.
 */
export type BoundAddresses = ReadonlyMap<Address, readonly number[]> | undefined;

/** Reads the addresses of kube-ipvs0. Link-local ones are the kernel's own and nobody's matter. */
export async function readDevice(
  family: Family | 'both',
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<BoundAddresses> {
  const args = ['-j', 'address', 'show', 'dev', serviceLink];
  const { exitCode, stdout, stderr } = await tools.run('ip', args, { timeoutMs, signal });
  if (exitCode !== 0 && /does not exist/.test(stderr)) return undefined;
  if (exitCode !== 0) {
    throw new SwitchyardError('tool', `ip ${args.join(' ')} failed: ${stderr.trim()}`, {
      retryable: true,
    });
  }
  const all = parseLinkAddresses(stdout, serviceLink);
  const isOf = (address: Address): boolean => family === 'both' || familyOf(address) === family;
  const own = all?.filter(({ address }) => isOf(address) && !isLinkLocal(address));
  return own && boundOf(own);
}

/**
 * Likewise; where `ip` is missing there is no such link, as far as anybody can tell: whoever made one needed it. `onMissing`
 * is told of it.
 */
export async function readDeviceIfAny(
  family: Family | 'both',
  tools: ToolRunner,
  signal: AbortSignal,
  onMissing?: (error: SwitchyardError) => void,
): Promise<BoundAddresses> {
  try {
    return await readDevice(family, tools, signal);
  } catch (error) {
    if (!(error instanceof SwitchyardError) || error.code !== 'missing') throw error;
    onMissing?.(error);
    return undefined;
  }
}

/** Addresses with their prefixes, by address. */
export function boundOf(all: readonly LinkAddress[]): ReadonlyMap<Address, readonly number[]> {
  const byAddress = Map.groupBy(all, ({ address }) => address);
  return new Map(
    [...byAddress].map(([address, own]) => [address, own.map(({ length }) => length)]),
  );
}

/** All of it, each with each of its prefixes. */
export function boundPrefixes(bound: BoundAddresses): readonly LinkAddress[] {
  return [...(bound ?? [])].flatMap(([address, lengths]) =>
    lengths.map((length) => ({ address, length })),
  );
}

/** The same in an order that does not depend on the kernel's. */
export function sortedPrefixes(prefixes: readonly LinkAddress[]): readonly LinkAddress[] {
  return prefixes.toSorted((a, b) => (prefixText(a) < prefixText(b) ? -1 : 1));
}

/** `10.96.0.1/32` */
export function prefixText({ address, length }: LinkAddress): string {
  return `${address}/${length}`;
}

/** What is to be done with kube-ipvs0. */
export interface DeviceChanges {
  /** The link is missing. */
  readonly create: boolean;
  readonly add: readonly Address[];
  readonly remove: readonly LinkAddress[];
}

/**
 * From what is bound to what shall be, each by itself: a prefix that somebody else has put there goes, also where its address is
 * wanted. Both families share the link: each handles its own addresses alone.
 */
export function diffDevice(
  bound: BoundAddresses,
  wanted: { keys(): Iterable<Address>; has(address: Address): boolean },
  isExcluded: (address: Address) => boolean,
): DeviceChanges {
  return {
    create: bound === undefined,
    add: [...wanted.keys()].filter((address) => !isBound(bound, address)).toSorted(),
    remove: sortedPrefixes(
      boundPrefixes(bound).filter(
        ({ address, length }) =>
          !(wanted.has(address) && length === hostLength(address)) && !isExcluded(address),
      ),
    ),
  };
}

/** Whether it is there by itself, as this mode binds it. */
function isBound(bound: BoundAddresses, address: Address): boolean {
  return bound?.get(address)?.includes(hostLength(address)) === true;
}

/** An address that could not be bound or removed, with the kernel's words. */
export interface RefusedChange {
  readonly address: Address;
  readonly isRemoval: boolean;
  readonly words: string;
}

interface BatchLine {
  readonly text: string;
  readonly address: Address | undefined;
  readonly isRemoval?: true;
  /** The kernel's words where there was nothing to do (from Linux 6.6 on they are others), or where it does not matter. */
  readonly harmless: RegExp;
}

/**
 * Changes kube-ipvs0 in one run. Gives what the kernel refused: the tool goes on after that. Rejects where the tool
 * itself fails, or there is no link.
 */
export async function changeDevice(
  changes: DeviceChanges,
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<readonly RefusedChange[]> {
  const lines = batchLines(changes);
  if (lines.length === 0) return [];
  const input = lines.map(({ text }) => `${text}\n`).join('');
  const options = { input, timeoutMs, signal };
  const { exitCode, stderr } = await tools.run('ip', ['-force', '-batch', '-'], options);
  if (exitCode === 0) return [];
  const refused: RefusedChange[] = [];
  const failures = [...stderr.matchAll(/^(.*)\nCommand failed -:(\d+)$/gm)];
  for (const [, words = '', number] of failures) {
    const line = lines[Number(number) - 1];
    if (line === undefined || line.harmless.test(words)) continue;
    const { address, isRemoval = false } = line;
    if (address === undefined || /Cannot find device/.test(words)) throw deviceError(line, words);
    refused.push({
      address,
      isRemoval,
      words: words.replace(/^(?:RTNETLINK answers|Error): /, ''),
    });
  }
  if (failures.length === 0) {
    throw new SwitchyardError('tool', `ip -batch failed: ${stderr.trim()}`, { retryable: true });
  }
  return refused;
}

function batchLines({ create, add, remove }: DeviceChanges): readonly BatchLine[] {
  const lines: BatchLine[] = [];
  if (create && add.length > 0) {
    const link = { address: undefined };
    lines.push(
      { ...link, text: `link add ${serviceLink} type dummy`, harmless: /File exists/ },
      // The link stays down, where IPv6 gives it no address; whoever sets it up shall not get one either.
      { ...link, text: `link set dev ${serviceLink} addrgenmode none`, harmless: /./ },
    );
  }
  for (const address of add) {
    const text = `address add ${address}/${hostLength(address)} dev ${serviceLink}`;
    // Duplicate address detection would keep the address from being used for a second.
    const detection = familyOf(address) === 'ipv6' ? ' nodad' : '';
    const harmless = /File exists|address already assigned/i;
    lines.push({ text: `${text}${detection}`, address, harmless });
  }
  for (const each of remove) {
    const text = `address del ${prefixText(each)} dev ${serviceLink}`;
    const harmless = /Cannot assign requested address|address not found/i;
    lines.push({ text, address: each.address, isRemoval: true, harmless });
  }
  return lines;
}

function deviceError({ text }: BatchLine, words: string): SwitchyardError {
  return new SwitchyardError('tool', `ip refused "${text}": ${words}`, {
    retryable: true,
    hint: `the kernel module dummy makes ${serviceLink}: modprobe dummy`,
  });
}
