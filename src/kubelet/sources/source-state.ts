import type { Log } from '../../telemetry/log.ts';

/** Something that is not as it should be, and why. */
export interface Complaint {
  /** A path, a URL, a pod's names. */
  readonly what: string;
  readonly reason: string;
}

/** How a source of static pods is: what it has to complain of is logged once, and can be asked for as long as it holds. */
export class SourceState {
  /** Where its pods come from: a path, or a URL without a password. */
  readonly place: string;
  /** Whether its pods are those of an earlier look, for it cannot be read now. */
  isStale = false;
  readonly #log: Log;
  readonly #open = new Map<string, string>();

  constructor(log: Log, place: string) {
    this.#log = log;
    this.place = place;
  }

  /** What of it is not run, and why; in the order in which it came up. */
  get complaints(): readonly Complaint[] {
    return Array.from(this.#open, ([what, reason]) => ({ what, reason }));
  }

  complain(what: string, reason: string): void {
    if (this.#open.get(what) === reason) return;
    this.#open.set(what, reason);
    this.#log.error({ source: this.place }, `static pods: ${what} ${reason}`);
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
