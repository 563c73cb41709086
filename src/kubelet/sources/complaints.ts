import type { Log } from '../../telemetry/log.ts';

/** Something that is not as it should be, and why. */
export interface Complaint {
  /** A path, a URL, a pod's names. */
  readonly what: string;
  readonly reason: string;
}

/** What a source has to complain of: each thing is logged once, and can be asked for as long as it holds. */
export class Complaints {
  readonly #log: Log;
  readonly #source: string;
  readonly #open = new Map<string, string>();

  /** `source`: where its pods come from. */
  constructor(log: Log, source: string) {
    this.#log = log;
    this.#source = source;
  }

  /** In the order in which they came up. */
  all(): readonly Complaint[] {
    return Array.from(this.#open, ([what, reason]) => ({ what, reason }));
  }

  add(what: string, reason: string): void {
    if (this.#open.get(what) === reason) return;
    this.#open.set(what, reason);
    this.#log.error({ source: this.#source }, `static pods: ${what} ${reason}`);
  }

  /** It is as it should be; says whether it was not. */
  clear(what: string): boolean {
    return this.#open.delete(what);
  }

  /** What is none of these is of no concern any more. */
  keepOnly(what: ReadonlySet<string>): void {
    for (const each of this.#open.keys()) if (!what.has(each)) this.#open.delete(each);
  }
}
