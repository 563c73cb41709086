import type { ToolRunner } from '../../host/run-tool.ts';
import { serviceLink } from '../../host/interfaces.ts';
import type { Address } from '../../ip/address.ts';
import type { Log } from '../../telemetry/log.ts';
import type { Unprogrammed } from '../backend.ts';
import { changeDevice, diffDevice } from './device.ts';
import type { BoundAddresses, DeviceChanges } from './device.ts';
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
  /** What is there as a whole; undefined: not all of it may be. */
  #written: IpvsState['addresses'] | undefined;

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

  /** Takes what was read for what is there. */
  take(bound: BoundAddresses): void {
    this.#bound = bound;
    this.#written = undefined;
  }

  /** Makes the link have these addresses, in one run; none where nothing differs. What was refused is tried again by the next. */
  async write(wanted: IpvsState['addresses'], signal: AbortSignal): Promise<void> {
    if (wanted === this.#written) return;
    this.#written = undefined;
    this.#refused = new Map();
    const { tools, log, isExcluded } = this.#parts;
    const changes = diffDevice(this.#bound, wanted, isExcluded);
    const failed = new Map<Address, Unprogrammed>();
    const left = new Set<Address>();
    for (const { address, words } of await changeDevice(changes, tools, signal)) {
      left.add(address);
      const reason = `${address} cannot be bound to ${serviceLink}: ${words}`;
      const name = wanted.get(address)?.origin.name;
      log.error({ servicePort: name }, reason);
      if (name !== undefined) failed.set(address, { name, reason });
    }
    this.#achieve(changes, left);
    this.#refused = failed;
    if (left.size === 0) this.#written = wanted;
  }

  #achieve({ add, remove }: DeviceChanges, failed: ReadonlySet<Address>): void {
    if (add.length + remove.length === 0) return;
    const bound = new Set(this.#bound);
    for (const address of remove) if (!failed.has(address)) bound.delete(address);
    for (const address of add) if (!failed.has(address)) bound.add(address);
    this.#bound = bound;
  }
}
