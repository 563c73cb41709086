import type { Clock } from '../../clock.ts';
import { readDiskSpace } from '../../host/disk-space.ts';
import type { FilledSpace } from '../../host/disk-space.ts';
import type { ClaimUse } from '../ports/pod-usage.ts';
import type { MountedClaim } from '../ports/volumes.ts';
import { AtOnce } from '../at-once.ts';
import { KeptReading } from './kept-reading.ts';

export interface ClaimSizesOptions {
  /** Those that pods have now. */
  readonly claims: () => readonly MountedClaim[];
  readonly clock: Clock;
  /** `volumeStatsAggPeriod`; below 0: nothing is measured. */
  readonly everyMs: number;
  readonly readSpace?: (path: string) => Promise<FilledSpace>;
}

/** Who asks does not wait longer for a file system: that of a server which does not answer never does. */
const waitMs = 2000;
/** Each that does not answer holds a thread of the few that all files are read by. */
const looksAtOnce = 2;

/** How full the file systems are that claims of pods lie on, looked at when somebody asks and kept for a while. */
export class ClaimSizes {
  readonly #options: ClaimSizesOptions;
  readonly #kept: KeptReading<readonly ClaimUse[]>;
  /** By path. */
  readonly #looking = new Map<string, Promise<FilledSpace | undefined>>();
  readonly #atOnce = new AtOnce(looksAtOnce);
  readonly #stopping = new AbortController();

  constructor(options: ClaimSizesOptions) {
    this.#options = options;
    this.#kept = new KeptReading(options.clock, async () => this.#read(), options.everyMs);
  }

  /** Those whose folders are gone, or do not answer, are left out. Does not reject. */
  async all(): Promise<readonly ClaimUse[]> {
    return this.#options.everyMs < 0 ? [] : this.#kept.get();
  }

  /** What waits for its turn waits no longer. */
  stop(): void {
    this.#stopping.abort();
  }

  async #read(): Promise<readonly ClaimUse[]> {
    const claims = this.#options.claims();
    const spaces = new Map<string, Promise<FilledSpace | undefined>>();
    for (const { path } of claims) {
      if (!spaces.has(path)) spaces.set(path, this.#inTime(path));
    }
    const uses = await Promise.all(
      claims.map(async (claim) => ({ ...claim, space: await spaces.get(claim.path) })),
    );
    return uses.flatMap(({ space, ...claim }) => (space === undefined ? [] : { ...claim, space }));
  }

  async #inTime(path: string): Promise<FilledSpace | undefined> {
    const looking = this.#looking.get(path) ?? this.#look(path);
    this.#looking.set(path, looking);
    const enough = new AbortController();
    const late = this.#options.clock.sleep(waitMs, enough.signal).then(() => undefined);
    const space = await Promise.race([looking, late]);
    enough.abort();
    return space;
  }

  async #look(path: string): Promise<FilledSpace | undefined> {
    const { readSpace = readDiskSpace } = this.#options;
    try {
      return await this.#atOnce.with(this.#stopping.signal, async () => readSpace(path));
    } catch {
      // it is gone, or the agent ends
      return undefined;
    } finally {
      this.#looking.delete(path);
    }
  }
}
