import { SwitchyardError } from '../error.ts';
import { familyLabel, familyOf } from '../ip/address.ts';
import type { Address, Family } from '../ip/address.ts';
import type { Log } from '../telemetry/log.ts';
import type { ServedFamilies } from './settings-notices.ts';

interface NamedNode {
  readonly name: string;
  /** The first one says which family the node's own is. */
  readonly addresses: readonly Address[];
}

/** What is served on a node of these addresses; that none is known is told. */
export function servedFamilies(
  families: readonly Family[],
  { name, addresses: [first] }: NamedNode,
  log: Log,
): ServedFamilies {
  if (first === undefined) log.warn({ node: name }, 'no address of this node is known');
  return { families, primary: first === undefined ? 'ipv4' : familyOf(first) };
}

/** Throws where the family of the node's own address cannot be served. */
export function refuseWithoutPrimary(
  { families, primary }: ServedFamilies,
  { addresses: [first] }: NamedNode,
): void {
  if (families.includes(primary)) return;
  throw new SwitchyardError(
    'missing',
    `${familyLabel(primary)}, the family of the node's address ${first ?? ''}, cannot be used here`,
    { hint: `install the iptables tools of ${familyLabel(primary)}, or set --bind-address` },
  );
}
