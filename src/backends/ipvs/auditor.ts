import type { Clock } from '../../clock.ts';
import type { ToolRunner } from '../../host/run-tool.ts';
import type { Address, Family } from '../../ip/address.ts';
import { listSets, saveSets } from '../iptables/ipsets.ts';
import type { RulesApplier } from '../iptables/rules-applier.ts';
import type { IptablesState } from '../iptables/state.ts';
import { membersReason, setsReason } from '../iptables/set-audit.ts';
import { addressesReason, serversReason } from './audit.ts';
import { readDevice } from './device.ts';
import { Ownership } from './ownership.ts';
import type { ServerTable } from './server-table.ts';

export interface AuditorParts {
  readonly family: Family;
  readonly tools: ToolRunner;
  readonly clock: Clock;
  readonly rules: RulesApplier;
  readonly table: ServerTable;
  readonly isExcluded: (address: Address) => boolean;
}

/** What was written last, beside what rules and virtual servers know of themselves. */
export interface Written {
  readonly sets: IptablesState['sets'];
  readonly bound: ReadonlySet<Address>;
}

/** So often each member of a set is looked at; in between, how many there are. */
const thoroughEveryMs = 3_600_000;

/** Looks whether the kernel still has what was written. */
export class Auditor {
  readonly #parts: AuditorParts;
  #sureAtMs = 0;

  constructor(parts: AuditorParts) {
    this.#parts = parts;
  }

  /** All is as it should be, also what a look does not show: it has just been written. */
  madeSure(): void {
    this.#sureAtMs = this.#parts.clock.monotonic();
  }

  /** Why the kernel no longer has what was written, and whether everything that can be looked at was. */
  async look(
    { sets, bound }: Written,
    signal: AbortSignal,
  ): Promise<{ readonly reason: string | undefined; readonly isThorough: boolean }> {
    const { family, tools, clock, rules, isExcluded } = this.#parts;
    const isThorough = clock.monotonic() - this.#sureAtMs >= thoroughEveryMs;
    const reason =
      (await this.#serversReason(bound, signal)) ??
      (await rules.audit(signal)) ??
      (isThorough
        ? membersReason(sets, await saveSets(tools, signal))
        : setsReason(sets, await listSets(tools, signal))) ??
      addressesReason(bound, await readDevice(family, tools, signal), isExcluded);
    return { reason, isThorough };
  }

  async #serversReason(
    bound: ReadonlySet<Address>,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { table, isExcluded } = this.#parts;
    const ownership = new Ownership(new Map(), bound);
    const look = async (): Promise<string | undefined> =>
      serversReason(
        table.servers,
        await table.read(signal),
        (server) => ownership.isOurs(server) && !isExcluded(server.address),
      );
    // The kernel may leave servers out of a table that the other family's agent changes meanwhile.
    return (await look()) && (await look());
  }
}
