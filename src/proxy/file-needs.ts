import { filesCure } from '../relay/wire.ts';
import { fileLimit } from '../host/file-limit.ts';
import type { Family } from '../ip/address.ts';
import type { Log } from '../telemetry/log.ts';

/** So many listeners have a socket in each worker. */
const mostShared = 1024;
/** Files of the agent itself, and room for some hundred connections. */
const reserve = 1024;

/** Says it once where the limit of open files is too low for the listeners there are. */
export class FileNeeds {
  readonly #log: Log;
  readonly #workers: number;
  readonly #limit: () => Promise<number | undefined>;
  readonly #listeners = new Map<Family, number>();
  #toldOf = 0;

  /** `workers`: threads of the relay, of which each may have a socket of a listener. */
  constructor(log: Log, workers: number, limit: () => Promise<number | undefined> = fileLimit) {
    this.#log = log;
    this.#workers = workers;
    this.#limit = limit;
  }

  /** A family has so many listeners. */
  listening(family: Family, count: number): void {
    this.#listeners.set(family, count);
    void this.#look();
  }

  async #look(): Promise<void> {
    const listeners = [...this.#listeners.values()].reduce((sum, count) => sum + count, 0);
    const limit = (await this.#limit()) ?? Number.POSITIVE_INFINITY;
    const shared = Math.min(listeners, mostShared);
    const needed = listeners + shared * (this.#workers - 1) + reserve;
    if (needed <= limit || needed <= this.#toldOf) return;
    this.#toldOf = 2 * needed;
    this.#log.warn(
      { limit, listeners, hint: filesCure },
      `this process may have ${limit} open files, too few for ${listeners} listeners and their connections, each of which needs two`,
    );
  }
}
