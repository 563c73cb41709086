import type { Log } from '../../telemetry/log.ts';
import type { Shortfall, VirtualServerKey } from './state.ts';

/** What virtual servers lack of what their Services asked for, as it goes from one state to the next. */
export class Shortfalls {
  readonly #byServer = new Map<VirtualServerKey, Shortfall>();
  #published: readonly Shortfall[] | undefined;

  put(key: VirtualServerKey, shortfall: Shortfall): void {
    this.#byServer.set(key, shortfall);
    this.#published = undefined;
  }

  remove(key: VirtualServerKey): void {
    if (this.#byServer.delete(key)) this.#published = undefined;
  }

  /** One for each service port and reason; the list given before where nothing has changed. */
  publish(): readonly Shortfall[] {
    this.#published ??= sorted(this.#byServer.values());
    return this.#published;
  }
}

function sorted(all: Iterable<Shortfall>): readonly Shortfall[] {
  const told = new Map<string, Shortfall>();
  for (const each of all) told.set(`${each.origin.servicePort} ${each.reason}`, each);
  return [...told].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
}

/** Says what Services do not get: each once, until it is over. */
export class ShortfallNotices {
  readonly #log: Log;
  #told: readonly Shortfall[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  tell(now: readonly Shortfall[]): void {
    if (now === this.#told) return;
    const told = new Set(this.#told.map(textOf));
    for (const each of now) {
      if (!told.has(textOf(each))) this.#log.warn({ servicePort: each.origin.name }, textOf(each));
    }
    this.#told = now;
  }
}

function textOf({ origin, reason }: Shortfall): string {
  return `${origin.name}: ${reason}`;
}
