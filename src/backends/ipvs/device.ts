import { SwitchyardError } from '../../error.ts';
import { parseInterfaces, serviceLink } from '../../host/interfaces.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import { familyOf, isLinkLocal } from '../../ip/address.ts';
import type { Address, Family } from '../../ip/address.ts';

const timeoutMs = 60_000;

/** What is on the link, of one family; undefined: there is no such link. */
export type BoundAddresses = ReadonlySet<Address> | undefined;

/** Reads the addresses of kube-ipvs0. Link-local ones are the kernel's own and nobody's matter. */
export async function readDevice(
  family: Family,
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
  const link = parseInterfaces(stdout).find(({ name }) => name === serviceLink);
  if (link === undefined) return undefined;
  return new Set(link.addresses.filter((each) => familyOf(each) === family && !isLinkLocal(each)));
}

/** Likewise; where `ip` is missing there is no such link, as far as anybody can tell: whoever made one needed it. */
export async function readDeviceIfAny(
  family: Family,
  tools: ToolRunner,
  signal: AbortSignal,
): Promise<BoundAddresses> {
  try {
    return await readDevice(family, tools, signal);
  } catch (error) {
    if (error instanceof SwitchyardError && error.code === 'missing') return undefined;
    throw error;
  }
}

/** What is to be done with kube-ipvs0. */
export interface DeviceChanges {
  /** The link is missing. */
  readonly create: boolean;
  readonly add: readonly Address[];
  readonly remove: readonly Address[];
}

/** From what is bound to what shall be. Both families share the link: each handles its own addresses alone. */
export function diffDevice(
  bound: BoundAddresses,
  wanted: { keys(): Iterable<Address>; has(address: Address): boolean },
  isExcluded: (address: Address) => boolean,
): DeviceChanges {
  const there = bound ?? new Set<Address>();
  return {
    create: bound === undefined,
    add: [...wanted.keys()].filter((address) => !there.has(address)).toSorted(),
    remove: [...there].filter((address) => !wanted.has(address) && !isExcluded(address)).toSorted(),
  };
}

/** An address that could not be bound or removed, with the kernel's words. */
export interface RefusedChange {
  readonly address: Address;
  readonly words: string;
}

interface BatchLine {
  readonly text: string;
  readonly address: Address | undefined;
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
    const { address } = line;
    if (address === undefined || /Cannot find device/.test(words)) throw deviceError(line, words);
    refused.push({ address, words: words.replace(/^(?:RTNETLINK answers|Error): /, '') });
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
    const text = `address add ${addressText(address)} dev ${serviceLink}`;
    // Duplicate address detection would keep the address from being used for a second.
    const detection = familyOf(address) === 'ipv6' ? ' nodad' : '';
    const harmless = /File exists|address already assigned/i;
    lines.push({ text: `${text}${detection}`, address, harmless });
  }
  for (const address of remove) {
    const text = `address del ${addressText(address)} dev ${serviceLink}`;
    lines.push({ text, address, harmless: /Cannot assign requested address|address not found/i });
  }
  return lines;
}

function addressText(address: Address): string {
  return `${address}/${familyOf(address) === 'ipv4' ? 32 : 128}`;
}

function deviceError({ text }: BatchLine, words: string): SwitchyardError {
  return new SwitchyardError('tool', `ip refused "${text}": ${words}`, {
    retryable: true,
    hint: `the kernel module dummy makes ${serviceLink}: modprobe dummy`,
  });
}
