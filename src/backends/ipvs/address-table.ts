import type { ToolRunner } from '../../host/run-tool.ts';
import { hostLength, serviceLink } from '../../host/interfaces.ts';
import type { Address } from '../../ip/address.ts';
import type { Log } from '../../telemetry/log.ts';
import type { StuckAddress, Unprogrammed } from '../sync-report.ts';
import { boundOf, boundPrefixes, changeDevice, diffDevice, prefixText } from './device.ts';
import type { BoundAddresses, DeviceChanges, RefusedChange } from './device.ts';
import type { IpvsState } from './state.ts';

export interface AddressTableParts {
  readonly tools: ToolRunner;
  readonly log: Log;
  readonly isExcluded: (address: Address) => boolean;
}

/** The addresses of kube-ipvs0, as they are known to be, and their only writer. */
export class AddressTable {
  readonly #parts: AddressTableParts;
  #bound: BoundAddresses;
  #refused: ReadonlyMap<Address, Unprogrammed> = new Map();
  #stuck: ReadonlyMap<Address, StuckAddress> = new Map();
  /** What was asked for last. */
  #asked: IpvsState['addresses'] = new Map();
  /** What was asked for last is there as a whole. */
  #isWritten = false;

  constructor(parts: AddressTableParts) {
    this.#parts = parts;
  }

  get bound(): BoundAddresses {
    return this.#bound;
  }

  /** Addresses that the kernel would not take. */
  get refused(): ReadonlyMap<Address, Unprogrammed> {
    return this.#refused;
  }

  /** Addresses that the last write was to remove, and that the kernel would not let go. */
  get stuck(): ReadonlyMap<Address, StuckAddress> {
    return this.#stuck;
  }

  /** Takes what was read for what is there. */
  take(bound: BoundAddresses): void {
    this.#bound = bound;
    this.#isWritten = false;
  }

  /** Makes the link have these addresses, in one run; none where nothing differs. What was refused is tried again by the next. */
  async write(wanted: IpvsState['addresses'], signal: AbortSignal): Promise<void> {
    if (wanted === this.#asked && this.#isWritten) return;
    const before = this.#asked;
    this.#asked = wanted;
    this.#isWritten = false;
    this.#refused = new Map();
    this.#stuck = new Map();
    const { tools, isExcluded } = this.#parts;
    const changes = diffDevice(this.#bound, wanted, isExcluded);
    this.#tellOfStrangers(changes.remove, wanted);
    const refused = await changeDevice(changes, tools, signal);
    this.#take(refused, wanted, before);
    this.#achieve(changes, refused);
    this.#isWritten = refused.length === 0;
  }

  /** Nobody but a stranger binds an address with the prefix of a network. */
  #tellOfStrangers(remove: DeviceChanges['remove'], wanted: IpvsState['addresses']): void {
    for (const each of remove.filter(({ address, length }) => length !== hostLength(address))) {
      const what = wanted.has(each.address) ? 'is replaced by the address alone' : 'is removed';
      this.#parts.log.warn(
        {},
        `somebody else has put ${prefixText(each)} on ${serviceLink}: it ${what}`,
      );
    }
  }

  #take(
    refused: readonly RefusedChange[],
    wanted: IpvsState['addresses'],
    before: IpvsState['addresses'],
  ): void {
    const failed = new Map<Address, Unprogrammed>();
    const stuck = new Map<Address, StuckAddress>();
    for (const { address, isRemoval, words } of refused) {
      const what = isRemoval ? 'removed from' : 'bound to';
      const reason = `${address} cannot be ${what} ${serviceLink}: ${words}`;
      const origin = (wanted.get(address) ?? before.get(address))?.origin;
      if (!wanted.has(address)) {
        stuck.set(address, { address, origin, reason });
        continue;
      }
      this.#parts.log.error({ servicePort: origin?.name }, reason);
      if (!isRemoval && origin) failed.set(address, { name: origin.name, reason });
    }
    this.#refused = failed;
    this.#stuck = stuck;
  }

  #achieve({ add, remove }: DeviceChanges, refused: readonly RefusedChange[]): void {
    if (add.length + remove.length === 0) return;
    const isRefused = (address: Address, removal: boolean): boolean =>
      refused.some((each) => each.address === address && each.isRemoval === removal);
    const gone = new Set(remove.filter(({ address }) => !isRefused(address, true)).map(prefixText));
    const rest = boundPrefixes(this.#bound).filter((each) => !gone.has(prefixText(each)));
    const come = add.filter((address) => !isRefused(address, false));
    const all = [...rest, ...come.map((address) => ({ address, length: hostLength(address) }))];
    this.#bound = boundOf(all);
  }
}
