import type { Origin } from '../../graph/rule-graph.ts';
import type { ServicePortKey } from '../../services/service-port.ts';
import type { Clock } from '../../clock.ts';
import type { Unprogrammed } from '../sync-report.ts';
import type { Refused } from './bisect.ts';
import { rulesText } from './probe.ts';
import type { IptablesState } from './state.ts';

const firstRetryMs = 30_000;
const lastRetryMs = 3_600_000;

interface Held {
  readonly origin: Origin;
  readonly words: string;
  /** The refused rules: other rules are worth a try at once. */
  readonly rules: string;
  readonly retryAtMs: number;
  readonly delayMs: number;
}

/**
 * Service ports whose rules were refused. They are left out of every batch until their rules change or
 * a time has passed that doubles with each refusal, so that one bad service costs the others nothing.
 */
export class Quarantine {
  readonly #clock: Clock;
  #held: ReadonlyMap<ServicePortKey, Held> = new Map();
  /** Of service ports that are being tried again. */
  #delays: ReadonlyMap<ServicePortKey, number> = new Map();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The service ports to leave out of this state; forgets those that are gone, changed or due. */
  review(state: IptablesState): ReadonlySet<ServicePortKey> {
    if (this.#held.size === 0) return new Set();
    const texts = rulesText(state, new Set(this.#held.keys()));
    const now = this.#clock.monotonic();
    const kept = [...this.#held].filter(
      ([key, held]) => texts.get(key) === held.rules && now < held.retryAtMs,
    );
    const keptKeys = new Set(kept.map(([key]) => key));
    this.#delays = new Map(
      [...this.#held]
        .filter(([key, held]) => !keptKeys.has(key) && texts.get(key) === held.rules)
        .map(([key, held]) => [key, held.delayMs]),
    );
    this.#held = new Map(kept);
    return keptKeys;
  }

  /** What is held, and what was refused just now. */
  keysWith(refused: readonly Refused<Origin>[]): ReadonlySet<ServicePortKey> {
    return new Set([...this.#held.keys(), ...refused.map(({ item }) => item.servicePort)]);
  }

  /** Adds what was refused in this state. */
  hold(refused: readonly Refused<Origin>[], state: IptablesState): void {
    const texts = rulesText(state, new Set(refused.map(({ item }) => item.servicePort)));
    const held = new Map(this.#held);
    for (const { item: origin, words } of refused) {
      const key = origin.servicePort;
      const before = this.#delays.get(key);
      const delayMs = before === undefined ? firstRetryMs : Math.min(2 * before, lastRetryMs);
      const retryAtMs = this.#clock.monotonic() + delayMs;
      held.set(key, { origin, words, rules: texts.get(key) ?? '', retryAtMs, delayMs });
    }
    this.#held = held;
  }

  /** All are worth a try at once: what their refusal was due to is over. */
  release(): void {
    this.#held = new Map();
    this.#delays = new Map();
  }

  /** For the report, sorted by name. */
  unprogrammed(): readonly Unprogrammed[] {
    return [...this.#held.values()]
      .map(({ origin, words }) => ({ name: origin.name, reason: words }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }
}
